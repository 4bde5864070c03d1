#include "nodes/ledger.hpp"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <system_error>

namespace penstock::nodes {

namespace {

constexpr int format_version = 1;
constexpr std::size_t fields_before_values = 5;
constexpr std::size_t line_bytes_max = 1u << 16; // ends the search for a lost closing quote

void add_value(std::string& out, const std::string& value) {
  out += ',';
  if (value.find_first_of(",\"\r\n") == std::string::npos) {
    out += value;
    return;
  }
  out += '"';
  for (const char c : value) {
    if (c == '"')
      out += '"';
    out += c;
  }
  out += '"';
}

/// Splits one line; false where it ends within quotes, so that the next one belongs to it.
bool split(const std::string& line, std::vector<std::string>& fields) {
  fields.clear();
  std::size_t at = 0;
  while (true) {
    std::string& field = fields.emplace_back();
    if (at < line.size() && line[at] == '"') {
      while (true) {
        const std::size_t quote = line.find('"', at + 1);
        if (quote == std::string::npos)
          return false;
        field.append(line, at + 1, quote - at - 1);
        at = quote + 1;
        if (at >= line.size() || line[at] != '"')
          break;
        field += '"';
      }
    } else {
      const std::size_t comma = std::min(line.find(',', at), line.size());
      field.assign(line, at, comma - at);
      at = comma;
    }
    if (at >= line.size())
      return true;
    ++at; // the comma; after a closing quote, whatever stands there: the count of fields tells
  }
}

template <class Number>
bool parse_number(const std::string& text, Number& number) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size();
}

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
  if (!parse_number(fields[2], line.published_us) || !parse_number(fields[3], line.copies))
    return "time and copies must be numbers";
  line.visible_us = 0;
  if (!fields[4].empty() && !parse_number(fields[4], line.visible_us))
    return "the time when the row was seen must be a number or empty";
  const std::size_t expected = line.malformed ? 1 : key_size;
  if (fields.size() - fields_before_values != expected)
    return "it has " + std::to_string(fields.size() - fields_before_values) + " values instead of " +
           std::to_string(expected);
  line.values.assign(std::make_move_iterator(fields.begin() + fields_before_values),
                     std::make_move_iterator(fields.end()));
  return std::nullopt;
}

result<ledger_header> parse_header(const std::string& text, const std::string& where) {
  const auto tree = nlohmann::json::parse(text, nullptr, false);
  if (!tree.is_object() || !tree.contains("penstock_ledger"))
    return error{errc::configuration, where + ": this is not a ledger of penstock load"};
  if (tree["penstock_ledger"] != format_version)
    return error{errc::configuration, where + ": a ledger of version " + tree["penstock_ledger"].dump() +
                                        ", and this program reads " + std::to_string(format_version)};
  ledger_header header;
  try {
    header.pipeline = tree.at("pipeline").get<std::string>();
    header.key = tree.at("key").get<std::vector<std::string>>();
    header.options = tree.at("options").get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception&) {
    return error{errc::configuration, where + ": the header needs pipeline, key and options"};
  }
  return header;
}

} // namespace

std::uint64_t ledger::add(bool malformed, wall_time published, const std::vector<std::string>& values) {
  for (const std::string& value : values)
    add_value(values_, value);
  entries_.push_back({published.time_since_epoch().count(), 0, values_.size(), 1, malformed});
  return entries_.size() - 1;
}

result<void> ledger::write(const std::filesystem::path& file) const {
  std::filesystem::path beside = file;
  beside += ".part";
  const auto failed = [&](const std::string& what) {
    return error{errc::configuration, "cannot write the ledger " + file.string() + ": " + what};
  };
  std::ofstream out{beside, std::ios::binary | std::ios::trunc};
  const nlohmann::ordered_json header = {{"penstock_ledger", format_version},
                                         {"pipeline", header_.pipeline},
                                         {"key", header_.key},
                                         {"options", header_.options}};
  out << header.dump() << '\n';
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
      out << buffer;
      buffer.clear();
    }
  }
  out << buffer;
  out.close();
  if (!out)
    return failed(std::generic_category().message(errno));
  std::error_code code;
  std::filesystem::rename(beside, file, code);
  if (code)
    return failed(code.message());
  return {};
}

result<ledger_header> read_ledger(const std::filesystem::path& file,
                                  const std::function<bool(std::size_t number, const ledger_line&)>& visit) {
  std::vector<char> buffer(1u << 18);
  std::ifstream in;
  in.rdbuf()->pubsetbuf(buffer.data(), static_cast<std::streamsize>(buffer.size()));
  in.open(file, std::ios::binary);
  std::string text;
  if (!in || !std::getline(in, text))
    return error{errc::configuration, file.string() + ": the ledger cannot be read, or is empty"};
  auto header = parse_header(text, file.string() + ":1");
  if (!header)
    return header;
  std::vector<std::string> fields;
  ledger_line line;
  std::string more;
  for (std::size_t number = 2; std::getline(in, text); ++number) {
    const std::size_t begins = number;
    const auto wrong = [&](const std::string& what) {
      return error{errc::configuration, file.string() + ":" + std::to_string(begins) + ": " + what};
    };
    while (!split(text, fields)) {
      if (text.size() > line_bytes_max || !std::getline(in, more))
        return wrong("a quote is never closed");
      text += '\n' + more;
      ++number;
    }
    if (in.eof())
      return wrong("the line is cut off");
    if (const auto problem = parse_line(fields, header->key.size(), line))
      return wrong(*problem);
    if (!visit(begins, line))
      break;
  }
  return header;
}

} // namespace penstock::nodes
