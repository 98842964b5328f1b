/// One element of an `-o` list: a name, and what stands after its `=`.
struct OptionWord: Equatable {
  var name: String
  /// nil where there is no `=`; `backing-file=` has an empty one.
  var value: String?
}

extension OptionWord {
  /// Takes the words of an `-o` list apart: commas separate them; a comma that stands between quotes or after a
  /// backslash belongs to the value. Empty words are skipped, as mount(8) may leave some.
  static func words(in list: String) throws(CommandError) -> [OptionWord] {
    var words: [OptionWord] = []
    var name = ""
    var value: String?
    func take(_ character: Character) {
      if value == nil { name.append(character) } else { value?.append(character) }
    }
    func endWord() {
      if !name.isEmpty || value != nil { words.append(OptionWord(name: name, value: value)) }
      (name, value) = ("", nil)
    }

    var quote: Character?
    var isEscaped = false
    for character in list {
      if isEscaped {
        take(character)
        isEscaped = false
      } else if character == "\\" {
        isEscaped = true
      } else if let open = quote {
        if character == open { quote = nil } else { take(character) }
      } else {
        switch character {
        case "\"", "'": quote = character
        case ",": endWord()
        case "=" where value == nil: value = ""
        default: take(character)
        }
      }
    }
    guard quote == nil, !isEscaped else {
      throw CommandError(.usage, "-o \(list): a quote or a backslash at the end is left open")
    }
    endWord()
    return words
  }
}
