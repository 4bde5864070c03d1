#include "storage/sql_store.hpp"

#include "core/assert.hpp"
#include "core/hex.hpp"
#include "storage/key_text.hpp"
#include "storage/session_table.hpp"
#include "storage/transaction.hpp"

#include <algorithm>

namespace penstock::storage {

namespace {

void add(std::map<std::string, kept_letter>& letters, const record::letter_view& letter) {
  auto id = dead_letter_id(letter.topic, letter.payload);
  auto [found, is_new] = letters.try_emplace(id);
  auto& kept = found->second;
  if (is_new)
    kept = {.id = id,
            .topic = letter.topic,
            .payload = letter.payload,
            .reason = {},
            .first_seen = letter.arrived,
            .last_seen = letter.arrived,
            .seen = 0};
  ++kept.seen;
  kept.code = letter.code;
  kept.reason = letter.reason;
  kept.first_seen = std::min(kept.first_seen, letter.arrived);
  kept.last_seen = std::max(kept.last_seen, letter.arrived);
}

/// The end of a piece that begins at `first` and that one statement may take.
std::size_t piece_end(const batch_view& batch, std::size_t first, std::size_t last, const statement_limits& limits) {
  const auto rows_end = limits.rows < last - first ? first + limits.rows : last;
  auto end = first;
  std::size_t bytes = 0;
  for (auto index = batch.frame_of(first); end < rows_end; ++index) {
    bytes += batch.frame(index).bytes();
    if (end > first && bytes > limits.bytes)
      break;
    end = std::min(rows_end, batch.end_of(index));
  }
  return end;
}

/// Shares what a call stored among its frames, from the first on.
std::vector<frame_outcome> outcomes_of(const batch_view& batch, std::uint32_t stored,
                                       const std::vector<std::uint32_t>& refused_of) {
  std::vector<frame_outcome> outcomes;
  outcomes.reserve(batch.frames());
  for (std::size_t index = 0; index < batch.frames(); ++index) {
    const auto& frame = batch.frame(index);
    const auto refused = refused_of[index];
    const auto sound = static_cast<std::uint32_t>(frame.rows()) - refused;
    const auto share = std::min(stored, sound);
    stored -= share;
    outcomes.push_back({.stored = share,
                        .duplicate = sound - share,
                        .dead_lettered = static_cast<std::uint32_t>(frame.letters()) + refused});
  }
  assert_that(stored == 0, "no more is stored than was there");
  return outcomes;
}

result<std::vector<column_type>> key_types(const table& table) {
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

} // namespace

sql_store::sql_store(std::unique_ptr<connection> database, access access, const config::dead_letters& letters)
  : database_(std::move(database)), access_(access), own_(*database_) {
  if (!letters.file.empty())
    letter_file_.emplace(letters.file, letters.file_bytes_max);
}

result<void> sql_store::check_table(const table& target) {
  if (auto fine = check_names(database_->words(), target); !fine)
    return fine;
  auto actual = database_->read_table(target.name);
  if (!actual)
    return actual.error();
  return actual->kind.empty() ? result<void>{} : compare(database_->words(), target, *actual);
}

result<void> sql_store::prepare_table(const table& target) {
  const auto& words = database_->words();
  if (auto fine = check_table(target); !fine)
    return fine;
  auto actual = database_->read_table(target.name);
  if (!actual)
    return actual.error();
  if (actual->kind.empty()) {
    if (auto created = own_.change_schema(create_table_sql(words, target)); !created)
      return created;
    if (auto finished = database_->finish_table(target); !finished)
      return finished;
  }
  for (const auto& columns : target.indexes)
    if (!has_index(words, *actual, columns))
      if (auto created = own_.change_schema(create_index_sql(words, target, columns)); !created)
        return created;
  return {};
}

/// Nothing is left to be made.
result<bool> sql_store::is_complete(const table& target) {
  if (auto own = own_.complete(); !own || !*own)
    return own;
  if (auto fine = check_table(target); !fine)
    return fine.error();
  const auto actual = database_->read_table(target.name);
  if (!actual)
    return actual.error();
  return !actual->kind.empty() && std::all_of(target.indexes.begin(), target.indexes.end(), [&](const auto& columns) {
    return has_index(database_->words(), *actual, columns);
  });
}

result<void> sql_store::make_tables(const table& table) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto locked = database_->lock_schema(); !locked)
    return locked;
  if (auto created = own_.create(); !created)
    return created;
  if (auto prepared = prepare_table(table); !prepared)
    return prepared;
  return changes->commit();
}

result<void> sql_store::prepare(const table& table) {
  if (access_ == access::read_only)
    return check_table(table);
  prepared_ = false;
  const auto complete = is_complete(table);
  if (!complete)
    return complete.error();
  if (!*complete)
    if (auto made = make_tables(table); !made)
      return made;
  if (auto opened = database_->open_rows(table); !opened)
    return opened;
  pipeline_ = table.pipeline;
  prepared_ = true;
  return {};
}

/// One piece: what the database refuses of it becomes letters.
result<std::uint32_t> sql_store::insert(const batch_view& batch, std::size_t first, std::size_t last, letters& refused,
                                        std::vector<std::uint32_t>& refused_of) {
  const auto insert = [&](std::size_t from, std::size_t to) { return database_->insert(batch, from, to); };
  const auto refuse = [&](std::size_t row, const error& why) -> result<void> {
    const auto index = batch.frame_of(row);
    const auto& frame = batch.frame(index);
    const auto at = row - batch.begin_of(index);
    if (!frame.has_messages())
      return error{errc::row_refused, why.message};
    ++refused_of[index];
    add(refused, {frame.topic(at), frame.payload(at), why.code, why.message, frame.arrived(at)});
    return {};
  };
  return insert_around_bad_rows(first, last, insert, refuse);
}

result<std::uint32_t> sql_store::insert_all(const batch_view& batch, letters& refused,
                                            std::vector<std::uint32_t>& refused_of) {
  const auto limits = database_->limits();
  std::uint32_t stored = 0;
  for (std::size_t first = 0; first < batch.rows();) {
    const auto end = piece_end(batch, first, batch.rows(), limits);
    auto piece = insert(batch, first, end, refused, refused_of);
    if (!piece)
      return piece;
    stored += *piece;
    first = end;
  }
  return stored;
}

result<void> sql_store::keep(const letters& all) {
  if (all.empty())
    return {};
  std::vector<kept_letter> sorted; // by id, so that transactions that keep the same letters wait for each other in turn
  for (const auto& [id, letter] : all)
    sorted.push_back(letter);
  const auto keep = [&](std::size_t first, std::size_t last) {
    return database_->keep_letters(std::span{sorted}.subspan(first, last - first));
  };
  std::vector<kept_letter> refused;
  const auto refuse = [&](std::size_t index, const error& why) -> result<void> {
    if (!letter_file_)
      return error{errc::internal, "the database refuses a dead letter, and no file is configured for it (" +
                                     std::string{"dead_letters.file of pipeline '"} + pipeline_ + "'): " + why.message};
    refused.push_back(sorted[index]);
    refused.back().reason += "; the database refuses the dead letter too: " + why.message;
    return {};
  };
  auto kept = insert_around_bad_rows(0, sorted.size(), keep, refuse);
  return kept ? keep_in_file(refused) : result<void>{kept.error()};
}

/// Before the commit: a crash in between leaves them in the file, where the next time finds them again.
result<void> sql_store::keep_in_file(std::span<const kept_letter> letters) {
  if (letters.empty())
    return {};
  auto there = letter_file_->read();
  if (!there)
    return there.error();
  std::vector<dead_letter> all;
  for (const auto& letter : letters) {
    const auto& before = there->letters[letter.id];
    const bool is_new = before.seen == 0;
    all.push_back({.id = letter.id,
                   .pipeline = pipeline_,
                   .topic = std::string{letter.topic},
                   .payload = std::string{letter.payload},
                   .payload_bytes = letter.payload.size(),
                   .code = letter.code,
                   .reason = letter.reason,
                   .first_seen = is_new ? letter.first_seen : std::min(before.first_seen, letter.first_seen),
                   .last_seen = is_new ? letter.last_seen : std::max(before.last_seen, letter.last_seen),
                   .seen = before.seen + letter.seen,
                   .attempts = before.attempts});
  }
  return letter_file_->put(all);
}

/// Of one pipeline, or of all where it is empty.
result<std::map<std::string, dead_letter>> sql_store::letters_in_file(const std::string& pipeline) {
  if (!letter_file_)
    return std::map<std::string, dead_letter>{};
  auto there = letter_file_->read();
  if (!there)
    return there.error();
  std::erase_if(there->letters,
                [&](const auto& each) { return !pipeline.empty() && each.second.pipeline != pipeline; });
  return std::move(there->letters);
}

result<std::vector<frame_outcome>> sql_store::write(std::span<const record::frame_view* const> frames) {
  assert_that(prepared_, "write() comes after prepare()");
  const batch_view batch{frames};
  letters kept;
  std::vector<std::uint32_t> refused_of(frames.size(), 0);
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  auto stored = insert_all(batch, kept, refused_of);
  if (!stored)
    return stored.error();
  for (const auto* frame : frames)
    for (std::size_t index = 0; index < frame->letters(); ++index)
      add(kept, frame->letter(index));
  if (auto done = keep(kept); !done)
    return done.error();
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return outcomes_of(batch, *stored, refused_of);
}

result<std::optional<error>> sql_store::replay_letter(const retried_letter& letter) {
  const auto& message = *letter.message;
  assert_that(message.rows() + message.letters() == 1, "a letter is tried again as one message");
  std::optional<error> why;
  const record::frame_view* const frames[] = {&message};
  if (message.rows() == 0) {
    why = error{message.letter(0).code, std::string{message.letter(0).reason}};
  } else if (auto tried = database_->insert(batch_view{frames}, 0, 1); tried.refused) {
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

result<std::vector<std::optional<error>>> sql_store::replay(std::span<const retried_letter> letters) {
  assert_that(prepared_, "replay() comes after prepare()");
  auto changes = transaction::begin(*database_);
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
  if (auto settled = settle_file(letters, outcomes); !settled)
    return settled.error();
  return outcomes;
}

/// What a replay means for the letters that are in the file. After the commit: a crash in between leaves a letter whose
/// record is stored, and its next replay finds the duplicate.
result<void> sql_store::settle_file(std::span<const retried_letter> letters,
                                    std::span<const std::optional<error>> outcomes) {
  auto there = letters_in_file(pipeline_);
  if (!there || there->empty())
    return there ? result<void>{} : result<void>{there.error()};
  std::vector<std::string> gone;
  std::vector<dead_letter> tried;
  for (std::size_t index = 0; index < letters.size(); ++index) {
    const auto found = there->find(letters[index].id);
    if (found == there->end())
      continue;
    ++found->second.attempts;
    if (outcomes[index])
      tried.push_back(found->second);
    else
      gone.push_back(found->first);
  }
  if (auto removed = letter_file_->remove(gone); !removed)
    return removed;
  return letter_file_->put(tried);
}

result<std::vector<dead_letter>> sql_store::dead_letters(const dead_letter_filter& filter) {
  auto there = own_.there();
  if (!there)
    return there.error();
  auto letters = *there ? own_.dead_letters(filter) : std::vector<dead_letter>{};
  auto in_file = letters_in_file(filter.pipeline);
  if (!letters || !in_file || in_file->empty())
    return in_file ? letters : in_file.error();
  for (auto& [id, letter] : *in_file) {
    if (!id.starts_with(filter.id.value_or("")) || (filter.after && id <= *filter.after))
      continue;
    if (!filter.payloads)
      letter.payload.clear();
    letters->push_back(std::move(letter));
  }
  std::sort(letters->begin(), letters->end(), [&](const dead_letter& left, const dead_letter& right) {
    if (!filter.after && left.last_seen != right.last_seen)
      return left.last_seen > right.last_seen;
    return left.id < right.id;
  });
  if (filter.limit != 0 && letters->size() > filter.limit)
    letters->resize(filter.limit);
  return letters;
}

result<std::uint64_t> sql_store::dead_letter_count(const std::string& pipeline) {
  auto there = own_.there();
  if (!there)
    return there.error();
  auto count = *there ? own_.dead_letter_count(pipeline) : std::uint64_t{0};
  auto in_file = letters_in_file(pipeline);
  if (!count || !in_file)
    return in_file ? count : in_file.error();
  return *count + in_file->size();
}

result<void> sql_store::for_each_key(const table& table, const std::function<bool(const key_text&)>& visit) {
  auto types = key_types(table);
  if (!types)
    return types.error();
  return database_->for_each_key(table, *types, visit);
}

result<bool> sql_store::contains(const table& table, const key_text& key) {
  auto types = key_types(table);
  if (!types)
    return types.error();
  if (key.size() != types->size())
    return error{errc::internal, "a key of " + std::to_string(key.size()) + " values for table '" + table.name + "'"};
  std::vector<std::string> values;
  std::string condition;
  const auto& words = database_->words();
  for (std::size_t index = 0; index < key.size(); ++index) {
    const auto type = (*types)[index];
    if (!is_key_text(key[index], type))
      return error{errc::field_type, "'" + key[index] + "' is no " + std::string{name_of(type)}};
    const bool bytes = type == column_type::bytes;
    const auto column = words.quote(table.key[index]);
    const auto parameter = ":k" + std::to_string(index);
    values.push_back(bytes ? to_hex(key[index]) : key[index]);
    condition += (index ? " AND " : "") + (bytes ? "lower(" + words.hex(column, false) + ") = " + parameter
                                                 : column + " = " + words.key_value(parameter, type));
  }
  auto count = own_.number("SELECT count(*) FROM " + quoted_table(words, table.name) + " WHERE " + condition, values);
  if (!count)
    return count.error();
  return *count > 0;
}

result<std::uint64_t> sql_store::row_count(const table& table) {
  return own_.number("SELECT count(*) FROM " + quoted_table(database_->words(), table.name), {});
}

result<std::string> sql_store::installation_id() {
  auto there = own_.there();
  if (!there)
    return there.error();
  auto id = *there ? own_.meta("installation_id") : std::string{};
  if (!id || !id->empty())
    return id;
  if (access_ == access::read_only)
    return error{errc::schema_mismatch, "no penstock has worked with this database yet"};
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto locked = database_->lock_schema(); !locked)
    return locked.error();
  if (auto created = own_.create(); !created)
    return created.error();
  id = own_.installation_id();
  if (!id)
    return id;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return id;
}

result<session_record> sql_store::enlist(const session_record& wanted) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  auto enlisted = session_table{*database_}.enlist(wanted);
  if (!enlisted)
    return enlisted;
  if (auto committed = changes->commit(); !committed)
    return committed.error();
  return enlisted;
}

result<void> sql_store::settle(const session_record& confirmed) {
  auto changes = transaction::begin(*database_);
  if (!changes)
    return changes.error();
  if (auto settled = session_table{*database_}.settle(confirmed); !settled)
    return settled;
  return changes->commit();
}

result<std::vector<session_record>> sql_store::sessions() { return session_table{*database_}.all(); }

result<std::uint64_t> sql_store::delete_older(const table& table, const std::string& column, wall_time before,
                                              std::size_t rows_max) {
  const auto& words = database_->words();
  auto dropped = database_->drop_older(table, column, before);
  if (!dropped || *dropped)
    return dropped ? result<std::uint64_t>{**dropped} : dropped.error();
  std::string key;
  for (const auto& name : table.key)
    key += (key.empty() ? "" : ", ") + words.quote(name);
  return own_.affected(
    words.delete_some(quoted_table(words, table.name), key,
                      words.quote(column) + " < " + words.timestamp(before.time_since_epoch().count()), rows_max));
}

result<std::uint64_t> sql_store::delete_older_letters(const std::string& pipeline, wall_time before,
                                                      std::size_t rows_max) {
  return own_.delete_older_letters(pipeline, before, rows_max);
}

result<void> sql_store::ping() {
  auto one = own_.number("SELECT 1", {});
  return one ? result<void>{} : result<void>{one.error()};
}

} // namespace penstock::storage
