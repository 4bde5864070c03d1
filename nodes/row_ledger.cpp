#include "nodes/row_ledger.hpp"

#include <optional>

namespace penstock::nodes {

namespace {

constexpr std::size_t fields_before_key = 6;
constexpr std::size_t write_bytes = 1u << 16;

/// What is wrong with the line; nothing where it is right.
std::optional<std::string> parse_line(std::vector<std::string>& fields, std::size_t key_size, row_line& line) {
  if (fields.size() != fields_before_key + key_size)
    return "it has " + std::to_string(fields.size()) + " fields instead of " +
           std::to_string(fields_before_key + key_size);
  line.updated = fields[0] == "updated";
  if (!line.updated && fields[0] != "inserted")
    return "the first field is neither inserted nor updated";
  line.late = fields[1] == "late";
  if (!line.late && fields[1] != "on_time")
    return "the second field is neither on_time nor late";
  line.version = 0;
  if (!parse_ledger_number(fields[2], line.committed_us) || !parse_ledger_number(fields[3], line.order) ||
      (!fields[4].empty() && !parse_ledger_number(fields[4], line.version)))
    return "time, order and version must be numbers";
  line.monitor = std::move(fields[5]);
  line.key.assign(std::make_move_iterator(fields.begin() + fields_before_key), std::make_move_iterator(fields.end()));
  return std::nullopt;
}

} // namespace

void row_ledger::add(const row_line& row) {
  append_ledger_value(text_, row.monitor);
  for (const std::string& value : row.key)
    append_ledger_value(text_, value);
  entries_.push_back({row.committed_us, row.order, row.version, text_.size(), row.updated, row.late});
}

result<void> row_ledger::write(const std::filesystem::path& file, bool finished) const {
  ledger_header header = header_;
  header.finished = finished;
  ledger_writer out{file, ledger_kind::rows, header};
  std::string buffer;
  std::uint64_t begin = 0;
  for (const entry& row : entries_) {
    buffer += row.updated ? "updated," : "inserted,";
    buffer += row.late ? "late," : "on_time,";
    buffer += std::to_string(row.committed_us) + ',' + std::to_string(row.order) + ',';
    if (row.version != 0)
      buffer += std::to_string(row.version);
    buffer.append(text_, begin, row.text_end - begin);
    buffer += '\n';
    begin = row.text_end;
    if (buffer.size() > write_bytes) {
      out.write(buffer);
      buffer.clear();
    }
  }
  out.write(buffer);
  return out.finish();
}

result<ledger_header> read_row_ledger(const std::filesystem::path& file,
                                      const std::function<bool(std::size_t number, const row_line&)>& visit) {
  std::size_t key_size = 0;
  row_line line;
  return read_ledger_file(
    file, ledger_kind::rows, [&](const ledger_header& header) { key_size = header.key.size(); },
    [&](std::size_t number, std::vector<std::string>& fields) -> result<bool> {
      if (const auto problem = parse_line(fields, key_size, line))
        return error{errc::configuration, *problem};
      return visit(number, line);
    });
}

} // namespace penstock::nodes
