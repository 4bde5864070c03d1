#include "nodes/ledger_file.hpp"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <system_error>

namespace penstock::nodes {

namespace {

constexpr std::size_t line_bytes_max = 1u << 16; // ends the search for a lost closing quote

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

/// What to do with a ledger of another kind.
std::string remedy_of(const nlohmann::json& version) {
  if (version == static_cast<int>(ledger_kind::rows))
    return "; it is one of `load --table`, for `verify --topic`";
  if (version == static_cast<int>(ledger_kind::messages))
    return "; it is one of `load --pipeline` or `load --broker`, for `verify --pipeline`";
  return "";
}

result<ledger_header> parse_header(const std::string& text, ledger_kind kind, const std::string& where) {
  const auto tree = nlohmann::json::parse(text, nullptr, false);
  if (!tree.is_object() || !tree.contains("penstock_ledger"))
    return error{errc::configuration, where + ": this is not a ledger of penstock load"};
  const auto& version = tree["penstock_ledger"];
  if (version != static_cast<int>(kind))
    return error{errc::configuration, where + ": a ledger of version " + version.dump() + ", and version " +
                                        std::to_string(static_cast<int>(kind)) + " is needed here" +
                                        remedy_of(version)};
  ledger_header header;
  try {
    header.pipeline = tree.at("pipeline").get<std::string>();
    header.key = tree.at("key").get<std::vector<std::string>>();
    header.options = tree.at("options").get<std::map<std::string, std::string>>();
    header.finished = tree.value("finished", true);
  } catch (const nlohmann::json::exception&) {
    return error{errc::configuration, where + ": the header needs pipeline, key and options"};
  }
  return header;
}

} // namespace

void append_ledger_value(std::string& out, const std::string& value) {
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

ledger_writer::ledger_writer(std::filesystem::path file, ledger_kind kind, const ledger_header& header)
  : file_(std::move(file)), beside_(file_) {
  beside_ += ".part";
  out_.open(beside_, std::ios::binary | std::ios::trunc);
  nlohmann::ordered_json tree = {{"penstock_ledger", static_cast<int>(kind)},
                                 {"pipeline", header.pipeline},
                                 {"key", header.key},
                                 {"options", header.options}};
  if (!header.finished)
    tree["finished"] = false;
  out_ << tree.dump() << '\n';
}

result<void> ledger_writer::finish() {
  const auto failed = [&](const std::string& what) {
    return error{errc::configuration, "cannot write the ledger " + file_.string() + ": " + what};
  };
  out_.close();
  if (!out_)
    return failed(std::generic_category().message(errno));
  std::error_code code;
  std::filesystem::rename(beside_, file_, code);
  if (code)
    return failed(code.message());
  return {};
}

result<ledger_header> read_ledger_file(const std::filesystem::path& file, ledger_kind kind,
                                       const ledger_header_visitor& begin, const ledger_line_visitor& visit) {
  std::vector<char> buffer(1u << 18);
  std::ifstream in;
  in.rdbuf()->pubsetbuf(buffer.data(), static_cast<std::streamsize>(buffer.size()));
  in.open(file, std::ios::binary);
  std::string text;
  if (!in || !std::getline(in, text))
    return error{errc::configuration, file.string() + ": the ledger cannot be read, or is empty"};
  auto header = parse_header(text, kind, file.string() + ":1");
  if (!header)
    return header;
  begin(*header);
  std::vector<std::string> fields;
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
    const auto wanted = visit(begins, fields);
    if (!wanted)
      return wrong(wanted.error().message);
    if (!*wanted)
      break;
  }
  return header;
}

} // namespace penstock::nodes
