#include "storage/sqlite.hpp"

#include "storage/own_tables.hpp"
#include "storage/sqlite_handle.hpp"
#include "storage/sqlite_rows.hpp"
#include "storage/sqlite_schema.hpp"

#include <soci/sqlite3/soci-sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <thread>

namespace penstock::storage {

namespace sqlite {

namespace {

constexpr auto dead_letters_name = "penstock_dead_letters";

own_tables_dialect dialect() {
  return {.text_type = "TEXT",
          .key_type = "TEXT",
          .bytes_type = "BLOB",
          .hex_function = "hex",
          .failure = [](const std::exception& thrown, const std::string& what) -> error {
            const auto* known = dynamic_cast<const soci::sqlite3_soci_error*>(&thrown);
            const auto* any = dynamic_cast<const soci::soci_error*>(&thrown);
            // what() would hold the statement's values.
            const auto text = any ? any->get_error_message() : std::string{thrown.what()};
            return {known ? code_of(known->result()) : errc::internal, what + ": " + text.substr(0, 400)};
          }};
}

/// A key's value from its column, as store.hpp says.
void append_key(const statement& row, int column, column_type type, std::string& text) {
  std::array<char, 40> digits{};
  auto* const end = digits.data() + digits.size();
  switch (type) {
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean:
    text.assign(digits.data(), std::to_chars(digits.data(), end, row.integer(column)).ptr);
    break;
  case column_type::real: text.assign(digits.data(), std::to_chars(digits.data(), end, row.real(column)).ptr); break;
  case column_type::text:
  case column_type::json:
  case column_type::bytes: text.assign(row.string(column)); break;
  }
}

/// Binds a key's value; false where the text is none of the type.
bool bind_key(statement& query, int index, column_type type, const std::string& text) {
  const auto* const end = text.data() + text.size();
  switch (type) {
  case column_type::integer:
  case column_type::timestamp:
  case column_type::boolean: {
    std::int64_t value = 0;
    if (const auto [at, failed] = std::from_chars(text.data(), end, value); failed != std::errc{} || at != end)
      return false;
    query.bind(index, value);
    return true;
  }
  case column_type::real: {
    double value = 0;
    if (const auto [at, failed] = std::from_chars(text.data(), end, value); failed != std::errc{} || at != end)
      return false;
    query.bind(index, value);
    return true;
  }
  case column_type::text:
  case column_type::json: query.bind_text(index, text); return true;
  case column_type::bytes: query.bind_bytes(index, text); return true;
  }
  return false;
}

class sqlite_store final : public store {
public:
  sqlite_store(std::unique_ptr<soci::session> session, connection* database, access access)
    : session_(std::move(session)), database_(database), access_(access), own_(*session_, dialect()) {}

  result<void> prepare(const table& table) override;
  result<std::vector<frame_outcome>> write(std::span<const record::frame_view* const> frames) override;
  result<std::vector<std::optional<error>>> replay(std::span<const retried_letter> letters) override;
  result<std::vector<dead_letter>> dead_letters(const dead_letter_filter& filter) override;
  result<std::uint64_t> dead_letter_count(const std::string& pipeline) override;
  result<void> for_each_key(const table& table, const std::function<bool(const key_text&)>& visit) override;
  result<bool> contains(const table& table, const key_text& key) override;
  result<std::uint64_t> row_count(const table& table) override;
  result<std::string> installation_id() override;

private:
  result<frame_outcome> write_frame(const record::frame_view& frame);
  result<void> keep_letter(const record::letter_view& letter);
  result<std::optional<error>> replay_letter(const retried_letter& letter);
  result<std::vector<column_type>> key_types(const table& table) const;

  // In this order: the statements go before the session that they belong to.
  std::unique_ptr<soci::session> session_;
  connection* database_;
  access access_;
  own_tables own_;
  std::string pipeline_;
  std::unique_ptr<row_inserter> rows_;
  std::optional<statement> letter_;
  std::string contains_sql_;
  std::optional<statement> contains_;
};

result<void> sqlite_store::prepare(const table& table) {
  if (access_ == access::read_only)
    return check_table(database_, table);
  rows_.reset();
  auto changes = transaction::begin(database_);
  if (!changes)
    return changes.error();
  if (auto created = own_.create(); !created)
    return created;
  if (auto prepared = prepare_table(database_, table); !prepared)
    return prepared;
  if (auto committed = changes->commit(); !committed)
    return committed;
  auto letter = statement::prepare(
    database_,
    "INSERT INTO penstock_dead_letters (pipeline, hash, topic, payload, code, reason, first_seen, last_seen,"
    " seen, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1, 0) ON CONFLICT (pipeline, hash) DO UPDATE SET"
    " seen = seen + 1, last_seen = max(last_seen, excluded.last_seen), code = excluded.code,"
    " reason = excluded.reason");
  if (!letter)
    return letter.error();
  auto rows = row_inserter::make(database_, table);
  if (!rows)
    return rows.error();
  letter_ = std::move(*letter);
  rows_ = std::move(*rows);
  pipeline_ = table.pipeline;
  return {};
}

result<void> sqlite_store::keep_letter(const record::letter_view& letter) {
  const auto id = dead_letter_id(letter.topic, letter.payload);
  letter_->bind_text(1, pipeline_);
  letter_->bind_text(2, id);
  letter_->bind_text(3, letter.topic);
  letter_->bind_bytes(4, letter.payload);
  letter_->bind(5, static_cast<std::int64_t>(letter.code));
  letter_->bind_text(6, letter.reason);
  letter_->bind(7, std::int64_t{letter.arrived.time_since_epoch().count()});
  auto kept = letter_->run();
  if (!kept && disposition_of(kept.error().code) == disposition::dead_letter)
    return error{errc::internal, "the database refuses a dead letter: " + kept.error().message};
  return kept;
}

result<frame_outcome> sqlite_store::write_frame(const record::frame_view& frame) {
  std::uint32_t refused = 0;
  const auto insert = [&](std::size_t first, std::size_t last) { return rows_->insert(frame, first, last); };
  const auto refuse = [&](std::size_t row, const error& why) {
    ++refused;
    return keep_letter({frame.topic(row), frame.payload(row), why.code, why.message, frame.arrived(row)});
  };
  auto stored = insert_around_bad_rows(0, frame.rows(), insert, refuse);
  if (!stored)
    return stored.error();
  for (std::size_t index = 0; index < frame.letters(); ++index)
    if (auto kept = keep_letter(frame.letter(index)); !kept)
      return kept.error();
  const auto rows = static_cast<std::uint32_t>(frame.rows());
  const auto letters = static_cast<std::uint32_t>(frame.letters());
  return frame_outcome{.stored = *stored, .duplicate = rows - *stored - refused, .dead_lettered = letters + refused};
}

result<std::vector<frame_outcome>> sqlite_store::write(std::span<const record::frame_view* const> frames) {
  assert_that(rows_ != nullptr, "write() comes after prepare()");
  auto changes = transaction::begin(database_);
  if (!changes)
    return changes.error();
  std::vector<frame_outcome> outcomes;
  outcomes.reserve(frames.size());
  for (const auto* frame : frames) {
    auto outcome = write_frame(*frame);
    if (!outcome)
      return outcome.error();
    outcomes.push_back(*outcome);
  }
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return outcomes;
}

result<std::optional<error>> sqlite_store::replay_letter(const retried_letter& letter) {
  const auto& message = *letter.message;
  assert_that(message.rows() + message.letters() == 1, "a letter is tried again as one message");
  std::optional<error> why;
  if (message.rows() == 0) {
    why = error{message.letter(0).code, std::string{message.letter(0).reason}};
  } else if (auto tried = rows_->insert(message, 0, 1); tried.refused) {
    why = tried.refused->why;
    if (disposition_of(why->code) != disposition::dead_letter)
      return *why;
  }
  if (!why) {
    if (auto deleted = own_.dead_letter_delete(pipeline_, letter.id); !deleted)
      return deleted.error();
    return std::optional<error>{};
  }
  const auto id = message.rows() == 0 ? dead_letter_id(message.letter(0).topic, message.letter(0).payload)
                                      : dead_letter_id(message.topic(0), message.payload(0));
  // What is wrong with a repaired payload says nothing of the one that is kept.
  if (auto counted = own_.dead_letter_attempted(pipeline_, letter.id, id == letter.id ? &*why : nullptr); !counted)
    return counted.error();
  return why;
}

result<std::vector<std::optional<error>>> sqlite_store::replay(std::span<const retried_letter> letters) {
  assert_that(rows_ != nullptr, "replay() comes after prepare()");
  auto changes = transaction::begin(database_);
  if (!changes)
    return changes.error();
  std::vector<std::optional<error>> outcomes;
  outcomes.reserve(letters.size());
  for (const auto& letter : letters) {
    auto outcome = replay_letter(letter);
    if (!outcome)
      return outcome.error();
    outcomes.push_back(*std::move(outcome));
  }
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return outcomes;
}

result<std::vector<dead_letter>> sqlite_store::dead_letters(const dead_letter_filter& filter) {
  auto there = has_table(database_, dead_letters_name);
  if (!there)
    return there.error();
  return *there ? own_.dead_letters(filter) : std::vector<dead_letter>{};
}

result<std::uint64_t> sqlite_store::dead_letter_count(const std::string& pipeline) {
  auto there = has_table(database_, dead_letters_name);
  if (!there)
    return there.error();
  return *there ? own_.dead_letter_count(pipeline) : std::uint64_t{0};
}

result<std::vector<column_type>> sqlite_store::key_types(const table& table) const {
  std::vector<column_type> types;
  for (const auto& name : table.key) {
    const auto found =
      std::find_if(table.columns.begin(), table.columns.end(), [&](const auto& column) { return column.name == name; });
    if (found == table.columns.end())
      return error{errc::configuration, "key column '" + name + "' is no column of table '" + table.name + "'"};
    types.push_back(found->type);
  }
  return types;
}

result<void> sqlite_store::for_each_key(const table& table, const std::function<bool(const key_text&)>& visit) {
  auto types = key_types(table);
  if (!types)
    return types.error();
  std::string names;
  for (const auto& name : table.key)
    names += (names.empty() ? "" : ", ") + identifier(name);
  auto query = statement::prepare(database_, "SELECT " + names + " FROM " + identifier(table.name));
  if (!query)
    return query.error();
  key_text key(types->size());
  for (;;) {
    auto more = query->step();
    if (!more)
      return more.error();
    if (!*more)
      return {};
    for (std::size_t index = 0; index < key.size(); ++index)
      append_key(*query, static_cast<int>(index), (*types)[index], key[index]);
    if (!visit(key))
      return {};
  }
}

result<bool> sqlite_store::contains(const table& table, const key_text& key) {
  auto types = key_types(table);
  if (!types)
    return types.error();
  if (key.size() != types->size())
    return error{errc::internal, "a key of " + std::to_string(key.size()) + " values for table '" + table.name + "'"};
  std::string sql = "SELECT 1 FROM " + identifier(table.name) + " WHERE ";
  for (std::size_t index = 0; index < key.size(); ++index)
    sql += (index ? " AND " : "") + identifier(table.key[index]) + " = ?" + std::to_string(index + 1);
  if (!contains_ || sql != contains_sql_) {
    auto query = statement::prepare(database_, sql);
    if (!query)
      return query.error();
    contains_ = std::move(*query);
    contains_sql_ = sql;
  }
  for (std::size_t index = 0; index < key.size(); ++index)
    if (!bind_key(*contains_, static_cast<int>(index) + 1, (*types)[index], key[index]))
      return error{errc::field_type, "'" + key[index] + "' is no " + std::string{name_of((*types)[index])}};
  auto found = contains_->step();
  contains_->reset();
  return found;
}

result<std::uint64_t> sqlite_store::row_count(const table& table) {
  auto query = statement::prepare(database_, "SELECT count(*) FROM " + identifier(table.name));
  if (!query)
    return query.error();
  if (auto row = query->step(); !row)
    return row.error();
  return static_cast<std::uint64_t>(query->integer(0));
}

result<std::string> sqlite_store::installation_id() {
  auto there = has_table(database_, "penstock_meta");
  if (!there)
    return there.error();
  auto id = *there ? own_.meta("installation_id") : std::string{};
  if (!id || !id->empty())
    return id;
  if (access_ == access::read_only)
    return error{errc::schema_mismatch, "no penstock has worked with this database yet"};
  auto changes = transaction::begin(database_);
  if (!changes)
    return changes.error();
  if (auto created = own_.create(); !created)
    return created.error();
  id = own_.installation_id();
  if (!id)
    return id;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return id;
}

const char* word_of(config::synchronous level) {
  switch (level) {
  case config::synchronous::full: return "FULL";
  case config::synchronous::normal: return "NORMAL";
  case config::synchronous::off: return "OFF";
  }
  return "FULL";
}

/// Two stores that make a new file at the same time: the change to WAL does not wait for its lock by itself.
result<void> switch_to_wal(connection* database, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto switched = execute(database, "PRAGMA journal_mode = WAL");
    if (switched || switched.error().code != errc::database_busy || std::chrono::steady_clock::now() >= until)
      return switched;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

result<void> set_up(connection* database, const config::database& settings, access access) {
  api::sqlite3_extended_result_codes(database, 1);
  api::sqlite3_busy_timeout(database, static_cast<int>(settings.busy_timeout.count()));
  if (access == access::read_only)
    return execute(database, "SELECT count(*) FROM sqlite_master");
  if (api::sqlite3_db_readonly(database, "main") == 1)
    return error{errc::database_unavailable, "this user may not write to " + settings.path.string()};
  // The page size holds only for a new file, and must come first.
  if (auto sized = execute(database, "PRAGMA page_size = 8192"); !sized)
    return sized;
  if (auto switched = switch_to_wal(database, settings.busy_timeout); !switched)
    return switched;
  return execute(database, std::string{"PRAGMA synchronous = "} + word_of(settings.synchronous) +
                             "; PRAGMA wal_autocheckpoint = 2000; PRAGMA foreign_keys = ON");
}

/// What to do about a file that does not open; `reason` is an errno.
const char* remedy_of(int reason, access access) {
  switch (reason) {
  case ENOENT: return access == access::read_only ? "; `penstock run` makes it" : "; make its folder";
  case EACCES:
  case EPERM:
  case EROFS: return "; let this user read and write the file and its folder";
  case EISDIR: return "; it is a folder: name a file";
  default: return "";
  }
}

error cannot_open(const config::database& settings, const error& why) {
  return {why.code, "database '" + settings.name + "' (" + settings.path.string() + "): " + why.message};
}

} // namespace

} // namespace sqlite

result<std::unique_ptr<store>> open_sqlite(const config::database& settings, access access) {
  const auto path = settings.path.string();
  if (path.find('"') != std::string::npos)
    return error{errc::configuration, "database '" + settings.name + "': a path with \" cannot be opened"};
  try {
    auto session = std::make_unique<soci::session>(
      soci::sqlite3, "dbname=\"" + path + "\"" + (access == access::read_only ? " readonly=true" : ""));
    auto* database = static_cast<soci::sqlite3_session_backend*>(session->get_backend())->conn_;
    if (auto ready = sqlite::set_up(database, settings, access); !ready)
      return sqlite::cannot_open(settings, ready.error());
    std::unique_ptr<store> made = std::make_unique<sqlite::sqlite_store>(std::move(session), database, access);
    return made;
  } catch (const soci::soci_error& thrown) {
    // SOCI does not say why: errno still does.
    const auto reason = errno;
    auto failure = sqlite::dialect().failure(thrown, "cannot open it");
    if (reason != 0)
      failure.message += " (" + std::generic_category().message(reason) + ")" + sqlite::remedy_of(reason, access);
    return sqlite::cannot_open(settings, failure);
  }
}

} // namespace penstock::storage
