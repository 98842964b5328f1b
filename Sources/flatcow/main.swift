print("flatcow")
