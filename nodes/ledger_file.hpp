// What the ledgers of `penstock load` have in common as files: that of messages (nodes/ledger.hpp) and that of rows
// (nodes/row_ledger.hpp).
//
//   ledger = header LF *( line LF )
//   header = JSON object: penstock_ledger (1: of messages, 2: of rows), pipeline, key (names of the key columns),
//            options (what load was told: count, seed and so on, for people), finished (false while load runs; true
//            where it is left out)
//   line   = value *( "," value )
//
// A value with a comma, a quote or a line break stands in quotes, its quotes doubled (RFC 4180).
#pragma once

#include "core/result.hpp"

#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace penstock::nodes {

enum class ledger_kind : int { messages = 1, rows = 2 };

struct ledger_header {
  std::string pipeline;
  std::vector<std::string> key;
  std::map<std::string, std::string> options; ///< for people
  bool finished = true;
};

/// Appends a comma and the value.
void append_ledger_value(std::string& out, const std::string& value);

template <class Number>
bool parse_ledger_number(const std::string& text, Number& number) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size();
}

/// Writes a file beside the ledger and renames it, so that there is never half a ledger.
class ledger_writer {
public:
  ledger_writer(std::filesystem::path file, ledger_kind kind, const ledger_header& header);

  /// Whole lines, in pieces of any size.
  void write(const std::string& text) { out_ << text; }
  result<void> finish();

private:
  std::filesystem::path file_;
  std::filesystem::path beside_;
  std::ofstream out_;
};

/// Gets the values of a line, and its number in the file (from 2). False: enough. An error's message says what is wrong
/// with the line.
using ledger_line_visitor = std::function<result<bool>(std::size_t number, std::vector<std::string>& values)>;
/// Gets the header before any line.
using ledger_header_visitor = std::function<void(const ledger_header&)>;

/// Reads line by line, in constant memory. `configuration` names the file, the line and what is wrong with it.
result<ledger_header> read_ledger_file(const std::filesystem::path& file, ledger_kind kind,
                                       const ledger_header_visitor& begin, const ledger_line_visitor& visit);

} // namespace penstock::nodes
