// RawFormat
