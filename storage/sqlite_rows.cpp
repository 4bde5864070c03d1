#include "storage/sqlite_rows.hpp"

#include <algorithm>
#include <cmath>
#include <new>

namespace penstock::storage::sqlite {

namespace {

constexpr auto module_name = "penstock_frame_rows";

// SQLite hands back pointers to the first member, so these must begin with SQLite's own.
struct virtual_table {
  api::sqlite3_vtab base{};
  row_source* source = nullptr;
};
struct cursor {
  api::sqlite3_vtab_cursor base{};
  row_source* source = nullptr;
};
static_assert(std::is_standard_layout_v<virtual_table> && std::is_standard_layout_v<cursor>);

row_source& source_of(api::sqlite3_vtab_cursor* at) { return *reinterpret_cast<cursor*>(at)->source; }

int connect(api::sqlite3* database, void* source, int, const char* const*, api::sqlite3_vtab** made, char**) noexcept {
  auto* rows = static_cast<row_source*>(source);
  std::string declaration = "CREATE TABLE frame_rows(";
  for (std::size_t index = 0; index < rows->columns.size(); ++index)
    declaration += (index ? ",c" : "c") + std::to_string(index);
  if (const int outcome = api::sqlite3_declare_vtab(database, (declaration + ")").c_str()); outcome != SQLITE_OK)
    return outcome;
  auto owned = std::make_unique<virtual_table>();
  owned->source = rows;
  *made = &owned.release()->base;
  return SQLITE_OK;
}

int disconnect(api::sqlite3_vtab* virtual_base) noexcept {
  const std::unique_ptr<virtual_table> ended{reinterpret_cast<virtual_table*>(virtual_base)};
  return SQLITE_OK;
}

int best_index(api::sqlite3_vtab*, api::sqlite3_index_info*) noexcept { return SQLITE_OK; }

int open_cursor(api::sqlite3_vtab* virtual_base, api::sqlite3_vtab_cursor** made) noexcept {
  auto owned = std::make_unique<cursor>();
  owned->source = reinterpret_cast<virtual_table*>(virtual_base)->source;
  *made = &owned.release()->base;
  return SQLITE_OK;
}

int close_cursor(api::sqlite3_vtab_cursor* at) noexcept {
  const std::unique_ptr<cursor> ended{reinterpret_cast<cursor*>(at)};
  return SQLITE_OK;
}

void enter_frame(row_source& source, std::size_t index) {
  source.frame_index = index;
  source.frame = &source.batch->frame(index);
  source.frame_begin = source.batch->begin_of(index);
}

int first_row(api::sqlite3_vtab_cursor* at, int, const char*, int, api::sqlite3_value**) noexcept {
  auto& source = source_of(at);
  source.current = source.first;
  enter_frame(source, source.batch->frame_of(source.first));
  return SQLITE_OK;
}

int next_row(api::sqlite3_vtab_cursor* at) noexcept {
  auto& source = source_of(at);
  ++source.current;
  // A frame may have letters only.
  while (source.current < source.last && source.current == source.batch->end_of(source.frame_index))
    enter_frame(source, source.frame_index + 1);
  return SQLITE_OK;
}

int at_end(api::sqlite3_vtab_cursor* at) noexcept {
  const auto& source = source_of(at);
  return source.current >= source.last ? 1 : 0;
}

int row_number(api::sqlite3_vtab_cursor* at, api::sqlite3_int64* number) noexcept {
  *number = static_cast<api::sqlite3_int64>(source_of(at).current);
  return SQLITE_OK;
}

int refuse(row_source& source, errc code, const std::string& text) {
  source.broken = error{code, text};
  return SQLITE_ERROR;
}

int value_of(api::sqlite3_vtab_cursor* at, api::sqlite3_context* out, int index) noexcept {
  auto& source = source_of(at);
  const auto row = source.current - source.frame_begin;
  const auto& declared = source.columns[static_cast<std::size_t>(index)];
  const auto& column = source.frame->column(static_cast<std::size_t>(index));
  if (column.null(row)) {
    if (!declared.optional)
      return refuse(source, errc::field_missing, "column '" + declared.name + "' has no value");
    return SQLITE_OK; // what is not set is NULL
  }
  switch (declared.type) {
  case column_type::integer:
  case column_type::timestamp: api::sqlite3_result_int64(out, column.integer(row)); break;
  case column_type::boolean: api::sqlite3_result_int(out, column.boolean(row) ? 1 : 0); break;
  case column_type::real:
    if (std::isnan(column.real(row))) // SQLite would make it NULL
      return refuse(source, errc::field_range, "column '" + declared.name + "' is not a number");
    api::sqlite3_result_double(out, column.real(row));
    break;
  case column_type::text:
  case column_type::json: {
    // Not copied: the frame outlives the statement.
    const auto text = column.string(row);
    api::sqlite3_result_text64(out, address_of(text), text.size(), nullptr, SQLITE_UTF8);
    break;
  }
  case column_type::bytes: {
    const auto bytes = column.string(row);
    api::sqlite3_result_blob64(out, address_of(bytes), bytes.size(), nullptr);
    break;
  }
  }
  return SQLITE_OK;
}

// Without xCreate it is an eponymous table: nothing of it is in the file.
constexpr api::sqlite3_module make_module() {
  api::sqlite3_module module{};
  module.xConnect = connect;
  module.xBestIndex = best_index;
  module.xDisconnect = disconnect;
  module.xOpen = open_cursor;
  module.xClose = close_cursor;
  module.xFilter = first_row;
  module.xNext = next_row;
  module.xEof = at_end;
  module.xColumn = value_of;
  module.xRowid = row_number;
  return module;
}
constexpr api::sqlite3_module module = make_module();

std::string on_conflict(const table& target) {
  if (target.on_conflict == config::conflict_rule::ignore)
    return "DO NOTHING";
  std::string values;
  for (const auto& column : target.columns)
    if (std::find(target.key.begin(), target.key.end(), column.name) == target.key.end())
      values += (values.empty() ? "" : ",") + identifier(column.name) + "=excluded." + identifier(column.name);
  if (target.order.empty())
    return "DO UPDATE SET " + values;
  const auto order = identifier(target.order);
  return "DO UPDATE SET " + values + " WHERE excluded." + order + ">" + identifier(target.name) + "." + order;
}

std::string insert_sql(const table& target) {
  std::string names;
  std::string values;
  std::string key;
  for (std::size_t index = 0; index < target.columns.size(); ++index) {
    names += (index ? "," : "") + identifier(target.columns[index].name);
    values += (index ? ",c" : "c") + std::to_string(index);
  }
  for (const auto& column : target.key)
    key += (key.empty() ? "" : ",") + identifier(column);
  // Never OR IGNORE: it would also drop rows that break a constraint. WHERE true keeps ON from being read as a join's.
  return "INSERT INTO " + identifier(target.name) + "(" + names + ") SELECT " + values + " FROM " + module_name +
         " WHERE true ON CONFLICT(" + key + ") " + on_conflict(target);
}

} // namespace

row_inserter::row_inserter(api::sqlite3* database, const table& target)
  : database_(database), source_(std::make_unique<row_source>()), sql_(insert_sql(target)) {
  source_->columns = target.columns;
}

result<std::unique_ptr<row_inserter>> row_inserter::make(api::sqlite3* database, const table& target) {
  auto made = std::make_unique<row_inserter>(database, target);
  const int outcome = api::sqlite3_create_module(database, module_name, &module, made->source_.get());
  if (outcome != SQLITE_OK)
    return last_failure(database, outcome, "cannot register the rows of frames");
  auto prepared = statement::prepare(database, made->sql_);
  if (!prepared)
    return prepared.error();
  made->insert_ = std::move(*prepared);
  return made;
}

error row_inserter::explain(error failure) {
  if (source_->broken)
    return *source_->broken;
  // SQLite says only "error" both when the table is gone and when an expression of the table (a CHECK, a generated
  // column, an index) cannot take a value. The statement can still be prepared in the second case.
  if (failure.code == errc::schema_mismatch && statement::prepare(database_, sql_))
    failure.code = errc::row_refused;
  if (disposition_of(failure.code) == disposition::dead_letter && api::sqlite3_get_autocommit(database_))
    return {errc::schema_mismatch,
            "a trigger rolled the whole batch back; let it use RAISE(ABORT): " + failure.message};
  return failure;
}

attempt row_inserter::insert(const batch_view& batch, std::size_t first, std::size_t last) {
  source_->batch = &batch;
  source_->first = first;
  source_->last = last;
  source_->broken.reset();
  auto done = insert_->run();
  source_->batch = nullptr;
  if (done)
    return {.stored = static_cast<std::uint32_t>(api::sqlite3_changes(database_))};
  // At the end of the rows the failure was found afterwards, by a foreign key or behind a trigger's buffer.
  const auto row = source_->current < last ? std::optional{source_->current} : std::nullopt;
  return {.refused = refusal{explain(done.error()), row}};
}

} // namespace penstock::storage::sqlite
