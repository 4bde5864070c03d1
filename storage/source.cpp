#include "storage/source.hpp"

#include "config/topic_template.hpp"
#include "config/value.hpp"
#include "core/assert.hpp"
#include "core/hex.hpp"
#include "core/json_text.hpp"
#include "core/partition_hash.hpp"
#include "core/time_text.hpp"
#include "core/utf8.hpp"
#include "storage/key_text.hpp"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace penstock::storage {

namespace {

constexpr std::size_t record_id_bytes_max = 200; // what a key of a tracking table takes in every database
constexpr std::size_t topic_bytes_max = 65'535;
constexpr std::size_t looked_up_at_once = 200; // conditions nest, and SQLite takes 1,000 levels
bool fits_key(const std::string& text) { return text.size() <= record_id_bytes_max && clean_utf8(text) == text; }

constexpr std::string_view digest = "sha256:"; // in front of a record id that is one

std::string base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  return text;
}

std::string sha256(std::string_view text) {
  std::string digest(32, '\0');
  assert_that(EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
                         EVP_sha256(), nullptr) == 1,
              "OpenSSL computes SHA-256");
  return digest;
}

/// A time with or without a zone, or a number of seconds, milliseconds or microseconds since 1970: by its size.
std::optional<wall_time> time_of(cell::kind type, std::string_view text) {
  if (type == cell::kind::integer || type == cell::kind::real) {
    double number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    constexpr double milliseconds_from = 1e11, microseconds_from = 1e14; // 5138 and 1973: no clock shows both
    if (number < 1e8)
      return std::nullopt;
    const double scale = number < milliseconds_from ? 1e6 : number < microseconds_from ? 1e3 : 1;
    return wall_time{std::chrono::microseconds{static_cast<std::int64_t>(number * scale)}};
  }
  if (text.size() < 19)
    return std::nullopt;
  if (auto zoned = parse_rfc3339(text))
    return zoned;
  return parse_rfc3339(std::string{text} + "Z");
}

// --- positions: a JSON array of texts, each with a letter for its kind in front
// ---------------------------------------

void append_position(std::string& to, const cell& value) {
  std::string text(1, value.type == cell::kind::integer || value.type == cell::kind::real ? 'n' : 't');
  text += value.text;
  to += to.empty() ? '[' : ',';
  append_json_string(to, text);
}

std::vector<std::string> parts_of(const std::string& position) {
  if (position.empty())
    return {};
  const auto parsed = nlohmann::json::parse(position, nullptr, false);
  assert_that(parsed.is_array(), "a position is what this program wrote");
  return parsed.get<std::vector<std::string>>();
}

class sql_source final : public source {
public:
  sql_source(std::unique_ptr<connection> database, config::publish pipeline)
    : database_(std::move(database)), pipeline_(std::move(pipeline)) {}

  result<void> look_at_table();

  path newest() const override { return newest_; }
  void begin_behind(const std::string& position) override;
  result<std::vector<source_row>> read(path along, const std::string& behind, std::size_t rows_max) override;
  result<std::vector<source_row>> read_ids(std::span<const id_range> ranges, std::size_t rows_max) override;
  result<std::vector<source_row>> read_records(std::span<const std::string> record_ids) override;
  result<std::vector<source_row>> read_changes(std::span<const changed_row> changes) override;
  result<std::string> end(path along) override;
  result<bool> is_before(const std::string& left, const std::string& right) override;
  std::string earlier(const std::string& position, std::chrono::milliseconds before) override;

private:
  const sql_words& words() const { return database_->words(); }
  std::size_t column(const std::string& name);
  void find_columns(const actual_table& table);
  void find_topic();
  void want(const std::string& condition);
  std::string wanted_sql() const;
  std::vector<std::string> columns_of(path along) const;
  std::string literal_of(const std::string& part) const;
  std::string behind_sql(const std::vector<std::string>& columns, std::span<const std::string> parts) const;
  result<std::vector<source_row>> select(path along, const std::string& condition, std::size_t rows_max,
                                         bool backwards);
  std::string is_record(const std::string& id) const;
  std::string changes_sql(std::span<const changed_row> changes) const;
  source_row refused(const changed_row& change, const error& why) const;
  source_row row_of(path along, std::span<const cell> cells, const changed_row* change = nullptr) const;
  void set_topic(source_row& row, std::span<const cell> cells) const;
  std::string payload_of(const source_row& row, std::span<const cell> cells) const;

  std::unique_ptr<connection> database_;
  config::publish pipeline_;
  path newest_ = path::order;
  std::string table_;                ///< quoted
  std::vector<std::string> columns_; ///< that are read, each once
  std::vector<std::size_t> key_;
  std::vector<std::size_t> shard_by_;
  std::optional<std::size_t> order_;
  std::optional<std::size_t> version_;
  std::optional<std::size_t> payload_;
  std::vector<std::pair<std::string, std::optional<std::size_t>>> topic_; ///< text, or a column
  std::vector<std::pair<config::published_field, std::size_t>> fields_;
  std::string select_; ///< the columns, quoted
  std::string wanted_; ///< a condition; empty: all rows
  std::string begin_;  ///< likewise
};

std::size_t sql_source::column(const std::string& name) {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found != columns_.end())
    return static_cast<std::size_t>(found - columns_.begin());
  columns_.push_back(name);
  return columns_.size() - 1;
}

void sql_source::find_topic() {
  auto topic = config::topic_template::parse(pipeline_.topic);
  assert_that(static_cast<bool>(topic), "the topic of a checked configuration is a template");
  for (const auto& part : topic->parts())
    if (part.is_column)
      topic_.emplace_back(std::string{}, column(part.text));
    else
      topic_.emplace_back(part.text, std::nullopt);
}

void sql_source::find_columns(const actual_table& table) {
  for (const auto& name : pipeline_.key)
    key_.push_back(column(name));
  if (!pipeline_.shard_by.empty())
    shard_by_.push_back(column(pipeline_.shard_by));
  else
    shard_by_ = key_;
  if (!pipeline_.order.empty())
    order_ = column(pipeline_.order);
  if (!pipeline_.version.empty())
    version_ = column(pipeline_.version);
  if (!pipeline_.payload.empty())
    payload_ = column(pipeline_.payload);
  find_topic();
  auto fields = pipeline_.fields;
  const bool names_columns = std::any_of(fields.begin(), fields.end(), [](const auto& field) {
    return field.from == config::published_field::kind::column;
  });
  if (!payload_ && !names_columns) {
    std::vector<config::published_field> all;
    all.reserve(table.columns.size());
    for (const auto& each : table.columns)
      all.push_back({each.name, config::published_field::kind::column, each.name});
    fields.insert(fields.begin(), all.begin(), all.end());
  }
  for (auto& field : fields)
    fields_.emplace_back(field, field.from == config::published_field::kind::column ? column(field.source) : 0);
}

bool is_integer_type(const std::string& declared) {
  const auto type = config::lower(declared);
  for (const auto* name : {"int", "bigint", "smallint", "mediumint", "tinyint", "bigserial", "serial"})
    if (type.starts_with(name) && !type.starts_with("interval"))
      return true;
  return false;
}

result<void> sql_source::look_at_table() {
  auto table = database_->read_table(pipeline_.table);
  if (!table)
    return table.error();
  if (table->kind.empty())
    return error{errc::schema_mismatch, "there is no table " + pipeline_.table};
  table_ = quoted_table(words(), pipeline_.table);
  find_columns(*table);
  std::string missing;
  bool integer_key = false;
  for (const auto& wanted : columns_) {
    const auto found = std::find_if(table->columns.begin(), table->columns.end(), [&](const auto& each) {
      return each.name == wanted || (words().folds_names && config::lower(each.name) == config::lower(wanted));
    });
    if (found == table->columns.end())
      missing += (missing.empty() ? "" : ", ") + wanted;
    else if (wanted == pipeline_.key.front())
      integer_key = is_integer_type(found->type);
    select_ += (select_.empty() ? "" : ", ") + words().quote(wanted);
  }
  if (!missing.empty())
    return error{errc::schema_mismatch, "table " + pipeline_.table + " has no column " + missing};
  if (pipeline_.key.size() == 1 && integer_key && !version_)
    newest_ = path::id;
  want(pipeline_.where);
  if (pipeline_.start == config::publish_start::value)
    want(words().quote(pipeline_.order) + " >= " + words().text_literal(pipeline_.start_value));
  return {};
}

void sql_source::want(const std::string& condition) {
  if (!condition.empty())
    wanted_ += (wanted_.empty() ? "(" : " AND (") + condition + ")";
}

std::string sql_source::wanted_sql() const {
  if (wanted_.empty() && begin_.empty())
    return "1";
  const auto both = wanted_.empty() ? begin_ : begin_.empty() ? wanted_ : wanted_ + " AND (" + begin_ + ")";
  return "CASE WHEN " + both + " THEN 1 ELSE 0 END";
}

void sql_source::begin_behind(const std::string& position) {
  const auto parts = parts_of(position);
  begin_ = parts.empty() ? std::string{} : behind_sql(columns_of(newest_), parts);
}

result<bool> sql_source::is_before(const std::string& left, const std::string& right) {
  const auto columns = columns_of(newest_);
  const auto before = parts_of(left);
  const auto behind = parts_of(right);
  if (behind.empty() || before == behind)
    return false;
  // The first column bounds it from above, so that no more is read than lies between.
  const auto name = words().quote(columns.front());
  bool found = false;
  auto read = database_->read(
    "SELECT 1 FROM " + table_ + " WHERE " + (before.empty() ? name + " IS NOT NULL" : behind_sql(columns, before)) +
      " AND " + name + " <= " + literal_of(behind.front()) + " AND NOT (" + behind_sql(columns, behind) + ") LIMIT 1",
    [&](auto) { found = true; });
  if (!read)
    return read.error();
  return found;
}

std::vector<std::string> sql_source::columns_of(path along) const {
  std::vector<std::string> columns;
  if (along == path::order)
    columns.push_back(columns_[version_ ? *version_ : order_.value_or(key_.front())]);
  for (const auto index : key_)
    if (columns.empty() || columns.front() != columns_[index])
      columns.push_back(columns_[index]);
  return columns;
}

std::string sql_source::literal_of(const std::string& part) const {
  return part.front() == 'n' ? part.substr(1) : words().text_literal(std::string_view{part}.substr(1));
}

/// (c1, c2) > (v1, v2), written so that an index is used everywhere: MariaDB scans the table for the short form.
std::string sql_source::behind_sql(const std::vector<std::string>& columns, std::span<const std::string> parts) const {
  assert_that(!parts.empty() && parts.size() <= columns.size(), "a position belongs to its path");
  std::string sql;
  for (auto index = parts.size(); index-- > 0;) {
    const auto name = words().quote(columns[index]);
    const auto value = literal_of(parts[index]);
    sql = sql.empty() ? name + " > " + value
                      : name + " >= " + value + " AND (" + name + " > " + value + " OR (" + sql + "))";
  }
  return sql;
}

result<std::vector<source_row>> sql_source::select(path along, const std::string& condition, std::size_t rows_max,
                                                   bool backwards) {
  std::string order;
  for (const auto& name : columns_of(along))
    order += (order.empty() ? "" : ", ") + words().quote(name) + (backwards ? " DESC" : "");
  // NULL has no place on a path; the sweep along the key finds such rows.
  auto where = along == path::order ? words().quote(columns_of(along).front()) + " IS NOT NULL" : std::string{};
  if (!condition.empty())
    where += (where.empty() ? "(" : " AND (") + condition + ")";
  std::vector<source_row> rows;
  auto read = database_->read("SELECT " + select_ + ", " + wanted_sql() + " FROM " + table_ +
                                (where.empty() ? "" : " WHERE " + where) + " ORDER BY " + order + " LIMIT " +
                                std::to_string(rows_max),
                              [&](std::span<const cell> cells) { rows.push_back(row_of(along, cells)); });
  if (!read)
    return read.error();
  return rows;
}

result<std::vector<source_row>> sql_source::read(path along, const std::string& behind, std::size_t rows_max) {
  const auto parts = parts_of(behind);
  return select(along, parts.empty() ? std::string{} : behind_sql(columns_of(along), parts), rows_max, false);
}

result<std::vector<source_row>> sql_source::read_ids(std::span<const id_range> ranges, std::size_t rows_max) {
  const auto name = words().quote(columns_[key_.front()]);
  std::string single;
  std::string where;
  for (const auto& range : ranges) {
    if (range.first == range.last)
      single += (single.empty() ? "" : ", ") + std::to_string(range.first);
    else
      where += (where.empty() ? "" : " OR ") + name + " BETWEEN " + std::to_string(range.first) + " AND " +
               std::to_string(range.last);
  }
  if (!single.empty())
    where += (where.empty() ? "" : " OR ") + name + " IN (" + single + ")";
  if (where.empty())
    return std::vector<source_row>{};
  return select(path::id, where, rows_max, false);
}

result<std::vector<source_row>> sql_source::read_records(std::span<const std::string> record_ids) {
  std::vector<source_row> rows;
  for (std::size_t first = 0; first < record_ids.size(); first += looked_up_at_once) {
    std::string where;
    for (const auto& id : record_ids.subspan(first, std::min(looked_up_at_once, record_ids.size() - first)))
      if (!is_digest(id))
        where += (where.empty() ? "" : key_.size() == 1 ? ", " : " OR ") + is_record(id);
    if (where.empty())
      continue;
    if (key_.size() == 1)
      where = words().quote(columns_[key_.front()]) + " IN (" + where + ")";
    auto some = select(path::key, where, looked_up_at_once, false);
    if (!some)
      return some.error();
    std::move(some->begin(), some->end(), std::back_inserter(rows));
  }
  return rows;
}

/// A value of the key, or where that has several columns a condition.
std::string sql_source::is_record(const std::string& id) const {
  if (key_.size() == 1)
    return words().text_literal(id);
  const auto parts = parts_of(id);
  std::string condition;
  for (std::size_t index = 0; index < key_.size() && index < parts.size(); ++index)
    condition += (condition.empty() ? "(" : " AND ") + words().quote(columns_[key_[index]]) + " = " +
                 words().text_literal(parts[index]);
  return condition + ")";
}

/// The table's query over rows that are made of the changes' values, so that types, conditions and formats are the
/// same. Where a change left large values alone and did not name them, they come from the table.
std::string sql_source::changes_sql(std::span<const changed_row> changes) const {
  std::string values;
  for (const auto& change : changes)
    values += (values.empty() ? '[' : ',') + change.values;
  const auto list = "json_array_elements(CAST(" + words().text_literal(values + "]") +
                    " AS json)) WITH ORDINALITY AS penstock_change(penstock_values, penstock_number)";
  const auto made_of = [&](const std::string& base) {
    return "json_populate_record(" + base + ", penstock_change.penstock_values)";
  };
  const auto nothing = "CAST(NULL AS " + table_ + ")";
  const auto name = words().quote(pipeline_.table.substr(pipeline_.table.find('.') + 1));
  const bool complete = std::all_of(changes.begin(), changes.end(), [](const auto& each) { return each.complete; });
  std::string same_key;
  for (const auto index : key_) {
    const auto column = words().quote(columns_[index]);
    same_key +=
      (same_key.empty() ? "" : " AND ") + ("penstock_base." + column) + " = (" + made_of(nothing) + ")." + column;
  }
  const auto from = complete ? list
                             : "(SELECT penstock_values, penstock_number, penstock_base FROM " + list + " LEFT JOIN " +
                                 table_ + " AS penstock_base ON " + same_key + ") AS penstock_change";
  return "SELECT " + select_ + ", " + wanted_sql() + ", " +
         (complete ? "false" : "penstock_change.penstock_base IS NULL") + " FROM " + from + " CROSS JOIN LATERAL " +
         made_of(complete ? nothing : "penstock_change.penstock_base") + " AS " + name +
         " ORDER BY penstock_change.penstock_number";
}

source_row sql_source::refused(const changed_row& change, const error& why) const {
  source_row row;
  row.record_id = record_id_of(change.key);
  row.version = change.version;
  row.topic = pipeline_.topic;
  row.since = change.committed_at;
  row.refusal = "its change cannot be read: " + why.message;
  partition_hash hash;
  hash.add(row.record_id);
  row.hash = hash.value();
  return row;
}

result<std::vector<source_row>> sql_source::read_changes(std::span<const changed_row> changes) {
  std::vector<source_row> rows;
  if (changes.empty())
    return rows;
  auto read = database_->read(changes_sql(changes), [&](std::span<const cell> cells) {
    const auto& change = changes[rows.size()];
    rows.push_back(row_of(path::key, cells, &change));
    if (!change.complete && cells[columns_.size() + 1].text == "true")
      rows.back().refusal = "a large value that the change left alone is no longer in the table";
  });
  if (read) {
    assert_that(rows.size() == changes.size(), "a row is made of each change");
    return rows;
  }
  if (disposition_of(read.error().code) != disposition::dead_letter)
    return read.error();
  if (changes.size() == 1)
    return std::vector{refused(changes.front(), read.error())};
  auto first = read_changes(changes.first(changes.size() / 2));
  auto second = first ? read_changes(changes.subspan(changes.size() / 2)) : first;
  if (!second)
    return second.error();
  first->insert(first->end(), std::make_move_iterator(second->begin()), std::make_move_iterator(second->end()));
  return first;
}

result<std::string> sql_source::end(path along) {
  auto last = select(along, {}, 1, true);
  if (!last)
    return last.error();
  return last->empty() ? std::string{} : last->front().position;
}

std::string sql_source::earlier(const std::string& position, std::chrono::milliseconds before) {
  const auto parts = parts_of(position);
  if (parts.empty())
    return {};
  const std::string_view text = std::string_view{parts.front()}.substr(1);
  const bool is_number = parts.front().front() == 'n';
  const auto time = time_of(is_number ? cell::kind::integer : cell::kind::text, text);
  if (!time)
    return {};
  std::string made;
  if (is_number) {
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    const auto units = time->time_since_epoch().count() / std::max<std::int64_t>(1, number);
    made = "n" + std::to_string(number - std::chrono::microseconds{before}.count() / std::max<std::int64_t>(1, units));
  } else {
    made = format_rfc3339(*time - before);
    if (text.back() != 'Z')
      made.pop_back();
    made[10] = text[10]; // texts are compared: written as the table does
    made.insert(made.begin(), 't');
  }
  std::string at = "[";
  append_json_string(at, made);
  return at + "]";
}

void sql_source::set_topic(source_row& row, std::span<const cell> cells) const {
  for (const auto& [text, index] : topic_) {
    row.topic += text;
    if (!index)
      continue;
    const auto& value = cells[*index];
    if (value.type == cell::kind::null) {
      row.topic += "unknown";
      continue;
    }
    if (value.text.empty() || value.text.find_first_of(std::string_view{"#+/\0", 4}) != std::string_view::npos)
      row.refusal = "the value of " + columns_[*index] + " cannot be a level of a topic: it " +
                    (value.text.empty() ? "is empty" : "contains #, +, / or a zero byte");
    row.topic += value.text;
  }
  if (row.topic.size() > topic_bytes_max)
    row.refusal = "the topic is longer than 65,535 bytes";
}

void append_json(std::string& to, const cell& value) {
  switch (value.type) {
  case cell::kind::null: to += "null"; return;
  case cell::kind::integer:
  case cell::kind::real:
  case cell::kind::boolean:
  case cell::kind::json: to += value.text; return;
  case cell::kind::text:
  case cell::kind::timestamp: append_json_string(to, value.text); return;
  case cell::kind::bytes: append_json_string(to, base64(value.text)); return;
  }
}

std::string sql_source::payload_of(const source_row& row, std::span<const cell> cells) const {
  using kind = config::published_field::kind;
  if (payload_)
    return std::string{cells[*payload_].text};
  std::string json;
  json.reserve(32 * fields_.size());
  for (const auto& [field, index] : fields_) {
    json += json.empty() ? '{' : ',';
    append_json_string(json, field.name);
    json += ':';
    switch (field.from) {
    case kind::column: append_json(json, cells[index]); break;
    case kind::constant: append_json_string(json, field.source); break;
    case kind::table: append_json_string(json, pipeline_.table); break;
    case kind::now: append_json_string(json, format_rfc3339(wall_now())); break;
    case kind::id: append_json_string(json, message_id_of(pipeline_.name, row.record_id, row.version)); break;
    }
  }
  return json.empty() ? "{}" : json + "}";
}

source_row sql_source::row_of(path along, std::span<const cell> cells, const changed_row* change) const {
  source_row row;
  if (key_.size() == 1) {
    const auto& key = cells[key_.front()];
    row.record_id = key.text;
    std::from_chars(key.text.data(), key.text.data() + key.text.size(), row.id);
    if (!fits_key(row.record_id))
      row.record_id = record_id_of(std::array{row.record_id});
  } else {
    std::vector<std::string> key;
    key.reserve(key_.size());
    for (const auto index : key_)
      key.emplace_back(cells[index].text);
    row.record_id = record_id_of(key);
  }
  if (version_)
    row.version = record_id_of(std::array{std::string{cells[*version_].text}});
  else if (change != nullptr)
    row.version = change->version;
  partition_hash hash;
  for (const auto index : shard_by_)
    hash.add(cells[index].text);
  row.hash = hash.value();
  row.shard_value = cells[shard_by_.front()].text;
  if (order_) {
    row.order = cells[*order_].text;
    row.since = time_of(cells[*order_].type, row.order);
  }
  if (change != nullptr && (!row.since || change->made_by == changed_row::kind::update))
    row.since = change->committed_at; // of a row that is old by its `order`
  row.wanted = cells[columns_.size()].text == "1";
  if (along == path::order)
    append_position(row.position, cells[version_ ? *version_ : order_.value_or(key_.front())]);
  for (const auto index : key_)
    if (along != path::order || index != (version_ ? *version_ : order_.value_or(key_.front())))
      append_position(row.position, cells[index]);
  row.position += ']';
  if (!row.wanted)
    return row;
  set_topic(row, cells);
  row.payload = payload_of(row, cells);
  return row;
}

} // namespace

std::string record_id_of(std::span<const std::string> key) {
  std::string id;
  if (key.size() == 1) {
    id = key.front();
  } else {
    for (const auto& part : key) {
      id += id.empty() ? '[' : ',';
      append_json_string(id, part);
    }
    id += ']';
  }
  return fits_key(id) ? id : std::string{digest} + to_hex(sha256(id));
}

bool is_digest(std::string_view record_id) { return record_id.starts_with(digest); }

std::string message_id_of(const std::string& pipeline, const std::string& record_id, const std::string& version) {
  return pipeline + "/" + record_id + (version.empty() ? "" : "/" + version);
}

std::string position_of(std::int64_t id) { return "[\"n" + std::to_string(id) + "\"]"; }

result<std::unique_ptr<source>> open_source(const config::database& database, const config::publish& pipeline,
                                            const connection_board& board) {
  auto opened = open_connection(database, access::read_only, board);
  if (!opened)
    return opened.error();
  auto made = std::make_unique<sql_source>(*std::move(opened), pipeline);
  if (auto fits = made->look_at_table(); !fits)
    return fits.error();
  return std::unique_ptr<source>{std::move(made)};
}

} // namespace penstock::storage
