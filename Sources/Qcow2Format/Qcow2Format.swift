// Qcow2Format
