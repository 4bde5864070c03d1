#include "nodes/source_table.hpp"

#include "config/topic_template.hpp"
#include "config/value.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace penstock::nodes {

namespace {

bool is_one_of(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Columns in the order in which they were first named.
class column_list {
public:
  explicit column_list(bool folds_names) : folds_names_(folds_names) {}

  void add(const std::string& name, column_type type, bool optional = true) {
    const auto same = [&](const storage::table::column& known) {
      return folds_names_ ? config::lower(known.name) == config::lower(name) : known.name == name;
    };
    if (!name.empty() && std::none_of(columns_.begin(), columns_.end(), same))
      columns_.push_back({name, type, optional});
  }
  std::vector<storage::table::column> take() { return std::move(columns_); }

private:
  bool folds_names_;
  std::vector<storage::table::column> columns_;
};

/// Of a key with several columns the first that means nothing else is the number.
void add_key(column_list& columns, const config::publish& pipeline) {
  bool numbered = false;
  for (const auto& name : pipeline.key) {
    const bool alone = pipeline.key.size() == 1;
    auto type = column_type::text;
    if (!alone && name == pipeline.order)
      type = column_type::timestamp;
    else if (alone || (name != pipeline.shard_by && !numbered))
      type = column_type::integer;
    numbered = numbered || type == column_type::integer;
    columns.add(name, type, false);
  }
}

void add_named(column_list& columns, const config::publish& pipeline, config::database_kind kind) {
  for (const auto& field : pipeline.fields)
    if (field.from == config::published_field::kind::column)
      columns.add(field.source, column_type::text);
  columns.add(pipeline.payload, column_type::text);
  if (const auto topic = config::topic_template::parse(pipeline.topic))
    for (const auto& part : topic->parts())
      if (part.is_column)
        columns.add(part.text, column_type::text);
  for (const auto& column : columns_of_condition(pipeline.where, kind))
    columns.add(column.name, column.type);
}

/// As a plant would declare them: SQLite's own integer key.
std::string declared_in_sqlite(column_type type, const storage::key_shape&) {
  switch (type) {
  case column_type::integer:
  case column_type::timestamp: return "INTEGER";
  case column_type::real: return "REAL";
  default: return "TEXT";
  }
}

bool is_name_letter(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_' || letter == '$' ||
         static_cast<unsigned char>(letter) >= 0x80;
}

bool is_keyword(const std::string& word) {
  static const std::vector<std::string> words = {
    "and",          "or",      "not",      "in",      "is",      "null",      "like",
    "ilike",        "between", "true",     "false",   "case",    "when",      "then",
    "else",         "end",     "cast",     "as",      "any",     "all",       "some",
    "exists",       "glob",    "regexp",   "rlike",   "div",     "mod",       "xor",
    "date",         "time",    "from",     "escape",  "collate", "timestamp", "array",
    "isnull",       "binary",  "interval", "notnull", "unknown", "distinct",  "current_timestamp",
    "current_date", "similar", "to"};
  return is_one_of(words, config::lower(word));
}

/// Goes through a condition from left to right.
class condition_reader {
public:
  condition_reader(std::string_view text, config::database_kind kind) : text_(text), kind_(kind) {}

  std::vector<named_column> read() {
    while (at_ < text_.size()) {
      const char letter = text_[at_];
      if (letter == '\'')
        skip_quoted('\'');
      else if (letter == '"' || letter == '`' || letter == '[')
        found(skip_quoted(letter == '[' ? ']' : letter), false);
      else if (std::isdigit(static_cast<unsigned char>(letter)) != 0)
        skip_word();
      else if (is_name_letter(letter))
        bare_word();
      else
        ++at_;
    }
    return std::move(columns_);
  }

private:
  /// What stands between the quotes; `at_` is moved behind them.
  std::string skip_quoted(char close) {
    std::string inside;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == close && (at_ + 1 == text_.size() || text_[at_ + 1] != close))
        break;
      if (text_[at_] == close)
        ++at_;
      inside += text_[at_];
    }
    at_ = std::min(at_ + 1, text_.size());
    return inside;
  }

  std::string skip_word() {
    const auto begin = at_;
    while (at_ < text_.size() && (is_name_letter(text_[at_]) || text_[at_] == '.'))
      ++at_;
    return std::string{text_.substr(begin, at_ - begin)};
  }

  void bare_word() {
    auto word = skip_word();
    if (const auto dot = word.rfind('.'); dot != std::string::npos)
      word.erase(0, dot + 1); // TABLE.COLUMN
    if (!is_keyword(word))
      found(kind_ == config::database_kind::postgresql ? config::lower(word) : word, true);
  }

  void found(const std::string& name, bool bare) {
    auto next = text_.find_first_not_of(" \t\r\n", at_);
    if (bare && next != std::string_view::npos && text_[next] == '(')
      return; // a function
    auto type = column_type::text;
    if (next != std::string_view::npos && std::string_view{"<>=!"}.find(text_[next]) != std::string_view::npos) {
      next = std::min(text_.find_first_not_of("<>=! \t\r\n+-", next), text_.size());
      const auto number =
        text_.substr(next, std::min(text_.find_first_not_of("0123456789.", next), text_.size()) - next);
      if (!number.empty())
        type = number.find('.') == std::string_view::npos ? column_type::integer : column_type::real;
    }
    if (!name.empty())
      columns_.push_back({name, type});
  }

  std::string_view text_;
  config::database_kind kind_;
  std::size_t at_ = 0;
  std::vector<named_column> columns_;
};

} // namespace

std::vector<named_column> columns_of_condition(const std::string& condition, config::database_kind kind) {
  return condition_reader{condition, kind}.read();
}

storage::table source_table_of(const config::publish& pipeline, config::database_kind kind,
                               const storage::sql_words& words) {
  column_list columns{words.folds_names};
  add_key(columns, pipeline);
  columns.add(pipeline.order, column_type::timestamp, false);
  columns.add(pipeline.shard_by, column_type::text);
  const bool versions = pipeline.on_update == config::update_rule::publish && !pipeline.version.empty();
  if (versions)
    columns.add(pipeline.version, column_type::integer, false);
  columns.add(value_column, column_type::real);
  columns.add(quality_column, column_type::integer);
  columns.add(timestamp_column, column_type::timestamp);
  add_named(columns, pipeline, kind);

  storage::table made{
    .pipeline = pipeline.name, .name = pipeline.table, .columns = columns.take(), .key = pipeline.key, .indexes = {}};
  if (!pipeline.order.empty() && pipeline.order != pipeline.key.front())
    made.indexes.push_back({{pipeline.order, false}});
  if (versions)
    made.indexes.push_back({{pipeline.version, false}});
  return made;
}

std::vector<std::string> create_source_sql(const config::publish& pipeline, config::database_kind kind,
                                           const storage::sql_words& words) {
  auto own = words;
  if (kind == config::database_kind::sqlite) {
    own.declared_type = declared_in_sqlite;
    own.pipeline_table_end.clear();
  }
  const auto table = source_table_of(pipeline, kind, words);
  std::vector<std::string> statements;
  const auto dot = table.name.find('.');
  if (kind == config::database_kind::postgresql && dot != std::string::npos)
    statements.push_back("CREATE SCHEMA IF NOT EXISTS " + words.quote(table.name.substr(0, dot)));
  statements.push_back(storage::create_table_sql(own, table));
  for (const auto& index : table.indexes)
    statements.push_back(storage::create_index_sql(own, table, index));
  return statements;
}

} // namespace penstock::nodes
