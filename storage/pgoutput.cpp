#include "storage/pgoutput.hpp"

#include "core/json_text.hpp"
#include "storage/postgresql_handle.hpp"

#include <algorithm>
#include <span>

namespace penstock::storage::postgresql {

/// Reads on from the front. What is not there is zero or empty, and `sound` says so.
class pgoutput::bytes {
public:
  explicit bytes(std::string_view all) : left_(all) {}

  bool sound() const { return sound_; }
  std::string_view take(std::size_t count) {
    if (count > left_.size()) {
      sound_ = false;
      left_ = {};
      return {};
    }
    const auto taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  template <class Number>
  Number number() {
    Number value = 0;
    for (const char byte : take(sizeof(Number)))
      value = static_cast<Number>(value << 8 | static_cast<unsigned char>(byte));
    return value;
  }
  char letter() { return static_cast<char>(number<std::uint8_t>()); }
  std::string_view text() {
    const auto end = left_.find('\0');
    const auto taken = take(end == std::string_view::npos ? left_.size() + 1 : end);
    take(1);
    return taken;
  }

private:
  std::string_view left_;
  bool sound_ = true;
};

namespace {

error unreadable(char kind) {
  return {errc::protocol_violation, std::string{"a message '"} + (kind >= ' ' && kind <= '~' ? kind : '?') +
                                      "' of logical decoding is cut short"};
}

} // namespace

pgoutput::pgoutput(const std::string& table, std::vector<std::string> key) : key_(std::move(key)) {
  const auto dot = table.find('.');
  schema_ = dot == std::string::npos ? std::string{} : table.substr(0, dot);
  name_ = dot == std::string::npos ? table : table.substr(dot + 1);
}

result<void> pgoutput::read_relation(bytes& from) {
  const auto id = from.number<std::uint32_t>();
  const auto schema = from.text();
  const auto name = from.text();
  from.letter();
  relation made;
  made.wanted = name == name_ && (schema_.empty() || schema == schema_);
  for (auto left = from.number<std::uint16_t>(); left > 0 && from.sound(); --left) {
    from.letter();
    column one;
    one.name = from.text();
    const auto type = from.number<std::uint32_t>();
    one.json = type == type_id::json || type == type_id::jsonb;
    from.number<std::uint32_t>();
    made.columns.push_back(std::move(one));
  }
  if (!from.sound())
    return unreadable('R');
  for (const auto& wanted : key_) {
    const auto found =
      std::find_if(made.columns.begin(), made.columns.end(), [&](const column& each) { return each.name == wanted; });
    if (made.wanted && found == made.columns.end())
      return error{errc::schema_mismatch, "the publication of table " + name_ + " leaves out the column " + wanted};
    made.key.push_back(static_cast<std::size_t>(found - made.columns.begin()));
  }
  relations_[id] = std::move(made);
  return {};
}

pgoutput::tuple pgoutput::read_tuple(bytes& from) {
  tuple read;
  for (auto left = from.number<std::uint16_t>(); left > 0 && from.sound(); --left) {
    value one;
    one.kind = from.letter();
    if (one.kind != 'n' && one.kind != 'u')
      one.text = from.take(from.number<std::uint32_t>());
    read.push_back(one);
  }
  return read;
}

changed_row pgoutput::row_of(const relation& of, const tuple& now, const tuple& before) const {
  changed_row row;
  row.committed_at = committed_at_;
  row.values = "{";
  for (std::size_t index = 0; index < now.size(); ++index) {
    const auto& column = of.columns[index];
    auto value = now[index];
    if (value.kind == 'u' && index < before.size() && before[index].kind == 't')
      value = before[index]; // the whole old row is there
    if (value.kind == 'u') {
      row.complete = false;
      continue;
    }
    row.values += row.values.size() > 1 ? "," : "";
    append_json_string(row.values, column.name);
    row.values += ':';
    if (value.kind == 'n')
      row.values += "null";
    else if (column.json)
      row.values += value.text;
    else
      append_json_string(row.values, value.text);
  }
  row.values += '}';
  for (const auto index : of.key)
    row.key.emplace_back(now[index].text);
  return row;
}

result<std::optional<pgoutput::event>> pgoutput::read_change(bytes& from, bool update, std::uint64_t at) {
  const auto id = from.number<std::uint32_t>();
  auto part = from.letter();
  tuple before;
  if (update && (part == 'K' || part == 'O')) {
    before = read_tuple(from);
    part = from.letter();
  }
  const auto now = read_tuple(from);
  const auto found = relations_.find(id);
  if (!from.sound() || part != 'N' || found == relations_.end())
    return unreadable(update ? 'U' : 'I');
  const auto& of = found->second;
  if (!of.wanted)
    return std::optional<event>{};
  if (now.size() != of.columns.size() || (!before.empty() && before.size() != now.size()))
    return unreadable(update ? 'U' : 'I');
  event made;
  made.what = event::kind::change;
  made.row = row_of(of, now, before);
  made.row.at = at;
  const bool other_key = !before.empty() && std::any_of(of.key.begin(), of.key.end(), [&](std::size_t index) {
    return before[index].kind == 't' && before[index].text != now[index].text;
  });
  made.row.made_by = update && !other_key ? changed_row::kind::update : changed_row::kind::insert;
  return std::optional<event>{std::move(made)};
}

result<std::optional<pgoutput::event>> pgoutput::read(std::string_view message, std::uint64_t at) {
  bytes from{message};
  const auto kind = from.letter();
  switch (kind) {
  case 'B': {
    from.number<std::uint64_t>();
    const auto microseconds =
      static_cast<std::int64_t>(from.number<std::uint64_t>() + std::uint64_t{epoch_microseconds});
    committed_at_ = wall_time{std::chrono::microseconds{microseconds}};
    break;
  }
  case 'C': {
    from.letter();
    from.number<std::uint64_t>();
    event made;
    made.end = from.number<std::uint64_t>();
    if (!from.sound())
      break;
    return std::optional<event>{std::move(made)};
  }
  case 'R':
    if (auto read = read_relation(from); !read)
      return read.error();
    break;
  case 'I':
  case 'U': return read_change(from, kind == 'U', at);
  default: break; // types, origins, other programs' messages
  }
  if (!from.sound())
    return unreadable(kind);
  return std::optional<event>{};
}

} // namespace penstock::storage::postgresql
