#include "nodes/ledger.hpp"

#include <optional>

namespace penstock::nodes {

namespace {

constexpr std::size_t fields_before_values = 5;

/// What is wrong with the line; nothing where it is right.
std::optional<std::string> parse_line(std::vector<std::string>& fields, std::size_t key_size, ledger_line& line) {
  if (fields.size() < fields_before_values)
    return "it has " + std::to_string(fields.size()) + " fields, fewer than " + std::to_string(fields_before_values);
  line.malformed = fields[0] == "malformed";
  if (!line.malformed && fields[0] != "sent")
    return "the first field is neither sent nor malformed";
  line.acknowledged = fields[1] == "acknowledged";
  line.unrouted = fields[1] == "unrouted";
  if (!line.acknowledged && !line.unrouted && fields[1] != "unconfirmed")
    return "the second field is none of acknowledged, unrouted and unconfirmed";
  if (!parse_ledger_number(fields[2], line.published_us) || !parse_ledger_number(fields[3], line.copies))
    return "time and copies must be numbers";
  line.visible_us = 0;
  if (!fields[4].empty() && !parse_ledger_number(fields[4], line.visible_us))
    return "the time when the row was seen must be a number or empty";
  const std::size_t expected = line.malformed ? 1 : key_size;
  if (fields.size() - fields_before_values != expected)
    return "it has " + std::to_string(fields.size() - fields_before_values) + " values instead of " +
           std::to_string(expected);
  line.values.assign(std::make_move_iterator(fields.begin() + fields_before_values),
                     std::make_move_iterator(fields.end()));
  return std::nullopt;
}

} // namespace

std::uint64_t ledger::add(bool malformed, wall_time published, const std::vector<std::string>& values) {
  for (const std::string& value : values)
    append_ledger_value(values_, value);
  entries_.push_back({published.time_since_epoch().count(), 0, values_.size(), 1, malformed});
  return entries_.size() - 1;
}

result<void> ledger::write(const std::filesystem::path& file) const {
  ledger_writer out{file, ledger_kind::messages, header_};
  std::string buffer;
  std::uint64_t values_begin = 0;
  for (const entry& message : entries_) {
    buffer += message.malformed ? "malformed," : "sent,";
    buffer += message.acknowledged ? "acknowledged," : message.unrouted ? "unrouted," : "unconfirmed,";
    buffer += std::to_string(message.published_us) + ',' + std::to_string(message.copies) + ',';
    if (message.visible_us != 0)
      buffer += std::to_string(message.visible_us);
    buffer.append(values_, values_begin, message.values_end - values_begin);
    buffer += '\n';
    values_begin = message.values_end;
    if (buffer.size() > 1u << 16) {
      out.write(buffer);
      buffer.clear();
    }
  }
  out.write(buffer);
  return out.finish();
}

result<ledger_header> read_ledger(const std::filesystem::path& file,
                                  const std::function<bool(std::size_t number, const ledger_line&)>& visit) {
  std::size_t key_size = 0;
  ledger_line line;
  return read_ledger_file(
    file, ledger_kind::messages, [&](const ledger_header& header) { key_size = header.key.size(); },
    [&](std::size_t number, std::vector<std::string>& fields) -> result<bool> {
      if (const auto problem = parse_line(fields, key_size, line))
        return error{errc::configuration, *problem};
      return visit(number, line);
    });
}

} // namespace penstock::nodes
