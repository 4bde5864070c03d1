#include "storage/postgresql_rows.hpp"

#include "core/utf8.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace penstock::storage::postgresql {

namespace {

// What a timestamptz can be, in its own microseconds (MIN_TIMESTAMP and END_TIMESTAMP in PostgreSQL's timestamp.h):
// from 4714-11-24 BC to the end of 294276. Beyond lie -infinity and infinity.
constexpr std::int64_t timestamp_min = -211'813'488'000'000'000;
constexpr std::int64_t timestamp_end = 9'223'371'331'200'000'000;

// Of a binary array: in front of the elements, and of each element.
constexpr std::size_t header_bytes = 20;
constexpr std::size_t length_bytes = 4;
constexpr std::uint32_t null_length = 0xffffffff;

// The server unpacks each array by itself: of a column that has the same value in all rows, it gets that value once.
// Fewer rows are alike by chance, and would make of one statement many.
constexpr std::size_t rows_for_single_values = 64;

// ON CONFLICT looks into the key's index before it inserts, and marks each row twice: a third of the server's time. So
// rows are taken for new until some are not, and then again after this many statements without any.
constexpr std::uint32_t statements_until_new_only = 100;

template <class Number>
std::array<char, sizeof(Number)> big_endian(Number value) {
  std::array<char, sizeof(Number)> bytes{};
  for (std::size_t index = 0; index < bytes.size(); ++index)
    bytes[index] = static_cast<char>(value >> (8 * (bytes.size() - 1 - index)));
  return bytes;
}

template <class Number>
void append_big_endian(std::string& to, Number value) {
  const auto bytes = big_endian(value);
  to.append(bytes.data(), bytes.size());
}

void put_big_endian(std::string& to, std::size_t at, std::uint32_t value) {
  const auto bytes = big_endian(value);
  std::copy(bytes.begin(), bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(at));
}

Oid element_of(column_type type) {
  switch (type) {
  case column_type::text:
  case column_type::json: return type_id::text;
  case column_type::integer: return type_id::int8;
  case column_type::real: return type_id::float8;
  case column_type::boolean: return type_id::boolean;
  case column_type::timestamp: return type_id::timestamptz;
  case column_type::bytes: return type_id::bytea;
  }
  return type_id::text;
}

Oid array_of(Oid element) {
  switch (element) {
  case type_id::boolean: return type_id::boolean_array;
  case type_id::bytea: return type_id::bytea_array;
  case type_id::int8: return type_id::int8_array;
  case type_id::float8: return type_id::float8_array;
  case type_id::timestamptz: return type_id::timestamptz_array;
  default: return type_id::text_array;
  }
}

std::size_t characters_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
    text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) != 0x80; }));
}

/// "A, B, C" of `of(index)`.
template <class Of>
std::string list(std::size_t count, const Of& of) {
  std::string text;
  for (std::size_t index = 0; index < count; ++index)
    text += (index ? ", " : "") + of(index);
  return text;
}

bool replaces_rows(const table& target) {
  return target.on_conflict == config::conflict_rule::update && target.key.size() < target.columns.size();
}

class statement_text {
public:
  /// `single`: the columns whose parameter is one value for all rows, not an array.
  statement_text(const table& target, const std::vector<column_facts>& facts, const std::vector<bool>& single)
    : target_(target), facts_(facts), single_(single) {}

  /// `new_only`: a row that is there already is an error, not passed over.
  std::string run(bool new_only) const {
    const auto count = target_.columns.size();
    const bool update = replaces_rows(target_);
    const auto names = list(count, [&](std::size_t index) { return identifier(target_.columns[index].name); });
    const auto values = list(count, [&](std::size_t index) { return value(index) + facts_[index].cast; });
    std::string arrays;
    std::string aliases;
    for (std::size_t index = 0; index < count; ++index)
      if (!single_[index]) {
        arrays += (arrays.empty() ? "" : ", ") + placeholder(index);
        aliases += (aliases.empty() ? "" : ", ") + value(index);
      }
    const auto key = list(target_.key.size(), [&](std::size_t index) { return identifier(target_.key[index]); });
    return "INSERT INTO " + quoted_name() + " AS t (" + names + ") SELECT " + (update ? newest_of_key() : "") + values +
           " FROM unnest(" + arrays + ") " +
           (update ? "WITH ORDINALITY AS u(" + aliases + ", n)" : "AS u(" + aliases + ")") +
           (update ? newest_first() : "") +
           (new_only ? "" : " ON CONFLICT (" + key + ") " + (update ? replacement() : "DO NOTHING"));
  }

private:
  static std::string placeholder(std::size_t index) { return "$" + std::to_string(index + 1); }
  std::string value(std::size_t index) const {
    return single_[index] ? placeholder(index) : "c" + std::to_string(index);
  }

  std::string quoted_name() const {
    const auto dot = target_.name.find('.');
    return dot == std::string::npos
             ? identifier(target_.name)
             : identifier(target_.name.substr(0, dot)) + "." + identifier(target_.name.substr(dot + 1));
  }

  std::size_t index_of(const std::string& name) const {
    const auto found = std::find_if(target_.columns.begin(), target_.columns.end(),
                                    [&](const auto& column) { return column.name == name; });
    return static_cast<std::size_t>(found - target_.columns.begin());
  }

  std::string keys() const {
    return list(target_.key.size(), [&](std::size_t index) { return value(index_of(target_.key[index])); });
  }

  // A statement may not change a row twice (21000): of the same key it takes one alone.
  std::string newest_of_key() const { return "DISTINCT ON (" + keys() + ") "; }

  // Text is compared byte by byte, so that a batch and the table agree, and all databases.
  std::string exact(std::size_t column) const {
    return target_.columns[column].type == column_type::text ? " COLLATE \"C\"" : "";
  }

  std::string newest_first() const {
    if (target_.order.empty())
      return " ORDER BY " + keys() + ", n DESC";
    const auto order = index_of(target_.order);
    // Of two that are as new the first stays, as it does when the second comes in a later batch.
    return " ORDER BY " + keys() + ", " + value(order) + exact(order) + " DESC NULLS LAST, n";
  }

  std::string replacement() const {
    std::string set;
    for (const auto& column : target_.columns)
      if (std::find(target_.key.begin(), target_.key.end(), column.name) == target_.key.end())
        set += (set.empty() ? "" : ", ") + identifier(column.name) + " = excluded." + identifier(column.name);
    if (target_.order.empty())
      return "DO UPDATE SET " + set;
    const auto collation = exact(index_of(target_.order));
    const auto order = identifier(target_.order);
    return "DO UPDATE SET " + set + " WHERE excluded." + order + collation + " > t." + order + collation;
  }

  const table& target_;
  const std::vector<column_facts>& facts_;
  const std::vector<bool>& single_;
};

} // namespace

void array::clear() {
  length_ = 0;
  has_null_ = false;
  bytes_.clear();
  for (const std::uint32_t part : {1u, 0u, static_cast<std::uint32_t>(element_), 0u, 1u}) // header_bytes
    append_big_endian(bytes_, part);
}

void array::add_length(std::size_t bytes) {
  append_big_endian(bytes_, static_cast<std::uint32_t>(bytes));
  ++length_;
}

void array::add_null() {
  append_big_endian(bytes_, null_length);
  ++length_;
  has_null_ = true;
}

void array::add(std::int64_t value) {
  add_length(sizeof value);
  append_big_endian(bytes_, static_cast<std::uint64_t>(value));
}

void array::add(double value) { add(std::bit_cast<std::int64_t>(value)); }

void array::add(bool value) {
  add_length(1);
  bytes_ += value ? '\1' : '\0';
}

void array::add(std::string_view bytes) {
  add_length(bytes.size());
  bytes_ += bytes;
}

parameter array::finished() {
  put_big_endian(bytes_, 4, has_null_ ? 1 : 0);
  put_big_endian(bytes_, 12, length_);
  return {array_of(element_), bytes_};
}

std::optional<parameter> array::only_value() const {
  const auto elements = std::string_view{bytes_}.substr(header_bytes);
  if (length_ == 0)
    return {};
  std::uint32_t bytes = 0;
  for (const auto byte : elements.substr(0, length_bytes))
    bytes = bytes << 8 | static_cast<unsigned char>(byte);
  const bool null = bytes == null_length;
  const auto size = length_bytes + (null ? 0 : bytes);
  // Shifted by one element it is the same.
  if (elements.size() != size * length_ || elements.substr(size) != elements.substr(0, elements.size() - size))
    return {};
  return parameter{element_, null ? std::string_view{} : elements.substr(length_bytes, bytes), null};
}

row_inserter::row_inserter(handle& database, const table& target, const std::vector<column_facts>& columns)
  : database_(database), target_(target), all_new_(statements_until_new_only) {
  for (const auto& wanted : target.columns) {
    const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const auto& facts) { return facts.name == wanted.name; });
    facts_.push_back(found == columns.end() ? column_facts{.name = wanted.name, .cast = {}} : *found);
    values_.emplace_back(element_of(wanted.type));
  }
}

/// Puts a column's values into its array; or says which row cannot be stored.
std::optional<refusal> row_inserter::collect(std::size_t index, const batch_view& batch, std::size_t first,
                                             std::size_t last) {
  const auto& wanted = target_.columns[index];
  const auto& facts = facts_[index];
  auto& values = values_[index];
  std::optional<refusal> refused;
  std::size_t number = first;
  const auto refuse = [&](errc code, const char* why) {
    refused = refusal{error{code, "column '" + wanted.name + "' " + why}, number};
  };
  const auto add = [&](const record::column_view& from, std::size_t row) {
    if (from.null(row))
      return wanted.optional ? values.add_null() : refuse(errc::field_missing, "has no value");
    switch (wanted.type) {
    case column_type::integer:
      if (from.integer(row) < facts.integer_min || from.integer(row) > facts.integer_max)
        return refuse(errc::field_range, "holds smaller numbers");
      return values.add(from.integer(row));
    case column_type::timestamp:
      if (from.integer(row) < timestamp_min + epoch_microseconds ||
          from.integer(row) - epoch_microseconds >= timestamp_end)
        return refuse(errc::field_range, "holds times from 4714 BC to 294276 AD");
      return values.add(from.integer(row) - epoch_microseconds);
    case column_type::real: return values.add(from.real(row));
    case column_type::boolean: return values.add(from.boolean(row));
    case column_type::bytes: return values.add(from.string(row));
    case column_type::text:
    case column_type::json: break;
    }
    const auto text = from.string(row);
    if (text.find('\0') != std::string_view::npos)
      return refuse(errc::field_range, "holds no zero bytes in text");
    if (text.size() > facts.characters_max && characters_of(text) > facts.characters_max)
      return refuse(errc::field_range, "holds shorter text");
    values.add(text);
  };
  values.clear();
  batch.for_each_part(first, last, [&](const record::frame_view& frame, std::size_t from, std::size_t to) {
    const auto& column = frame.column(index);
    for (auto row = from; row < to && !refused; ++row, ++number)
      add(column, row);
  });
  return refused;
}

attempt row_inserter::insert(const batch_view& batch, std::size_t first, std::size_t last) {
  std::vector<parameter> parameters;
  std::vector<bool> single(values_.size(), false);
  bool has_array = false; // which says how many rows there are
  for (std::size_t index = 0; index < values_.size(); ++index) {
    if (auto refused = collect(index, batch, first, last))
      return {.refused = std::move(refused)};
    const bool must_be_array = index + 1 == values_.size() && !has_array;
    auto only = last - first < rows_for_single_values || must_be_array ? std::nullopt : values_[index].only_value();
    single[index] = only.has_value();
    has_array = has_array || !only;
    parameters.push_back(only ? *only : values_[index].finished());
  }
  const statement_text statement{target_, facts_, single};
  if (all_new_ >= statements_until_new_only && !replaces_rows(target_)) {
    auto done = database_.run_or_undo(statement.run(true), parameters);
    if (!done.refused || disposition_of(done.refused->why.code) != disposition::dead_letter)
      return done;
    all_new_ = 0;
  }
  auto done = database_.run_or_undo(statement.run(false), parameters);
  all_new_ = !done.refused && done.stored == last - first ? all_new_ + 1 : 0;
  return done;
}

attempt keep_letters(handle& database, const std::string& pipeline, std::span<const kept_letter> letters) {
  static const std::string sql =
    "INSERT INTO penstock_dead_letters AS t (pipeline, hash, topic, payload, code, reason, first_seen, last_seen, seen,"
    " attempts) SELECT $1, u.*, 0 FROM unnest($2, $3, $4, $5, $6, $7, $8, $9) AS u"
    " ON CONFLICT (pipeline, hash) DO UPDATE SET seen = t.seen + excluded.seen,"
    " last_seen = greatest(t.last_seen, excluded.last_seen), code = excluded.code, reason = excluded.reason";
  array id{type_id::text}, topic{type_id::text}, payload{type_id::bytea}, code{type_id::int8}, reason{type_id::text},
    first_seen{type_id::int8}, last_seen{type_id::int8}, seen{type_id::int8};
  const auto microseconds = [](wall_time time) { return std::int64_t{time.time_since_epoch().count()}; };
  for (const auto& letter : letters) {
    id.add(letter.id);
    // A letter is never refused: what PostgreSQL does not take as text is replaced.
    topic.add(clean_utf8(letter.topic));
    payload.add(letter.payload);
    code.add(static_cast<std::int64_t>(letter.code));
    reason.add(clean_utf8(letter.reason));
    first_seen.add(microseconds(letter.first_seen));
    last_seen.add(microseconds(letter.last_seen));
    seen.add(static_cast<std::int64_t>(letter.seen));
  }
  const std::array parameters{parameter{type_id::text, pipeline},
                              id.finished(),
                              topic.finished(),
                              payload.finished(),
                              code.finished(),
                              reason.finished(),
                              first_seen.finished(),
                              last_seen.finished(),
                              seen.finished()};
  return database.run_or_undo(sql, parameters);
}

} // namespace penstock::storage::postgresql
