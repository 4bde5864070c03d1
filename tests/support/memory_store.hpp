// A store in memory that fails when the test wants it to: for faults at a chosen step. What a database does by itself
// is tested on a real one (tests/unit/storage, tests/integration).
#pragma once

#include "storage/store.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace penstock::testing {

/// The database behind the stores: outlives them.
struct memory_database {
  std::multiset<std::string> rows;             ///< the first text column of each
  std::vector<std::string> letters;            ///< payloads
  std::vector<std::size_t> commits;            ///< messages in each
  std::vector<bool> with_messages;             ///< whether each frame came with the messages of its rows
  std::map<std::string, std::string> payloads; ///< of rows that came with their messages, by the first text column
  std::deque<error> open_failures;             ///< the next calls of open fail with these
  std::deque<error> prepare_failures;          ///< and the next calls of prepare
  std::deque<error> write_failures;            ///< and the next writes; errc::none: the write succeeds
  std::deque<error> ping_failures;             ///< and the next pings
  std::deque<error> session_failures;          ///< and the next calls of enlist, settle and sessions
  std::map<std::pair<std::string, std::string>, session_record> sessions; ///< by client id and broker
  std::deque<std::uint64_t> deletes; ///< what the next calls of delete_older delete
  std::deque<error> delete_failures; ///< and the next of those fail with these
  std::size_t deletions = 0;         ///< calls of delete_older
  std::size_t opened = 0;
};

class memory_store : public storage::store {
public:
  explicit memory_store(std::shared_ptr<memory_database> database) : database_(std::move(database)) {}

  result<void> prepare(const storage::table&) override {
    auto failure = next(database_->prepare_failures);
    return failure.code == errc::none ? result<void>{} : result<void>{failure};
  }
  result<std::string> installation_id() override { return std::string{"test"}; }

  result<session_record> enlist(const session_record& wanted) override {
    if (auto failure = next(database_->session_failures); failure.code != errc::none)
      return failure;
    auto& known = database_->sessions[{wanted.client_id, wanted.broker}];
    auto now = wanted;
    for (const auto& filter : known.filters)
      if (std::find(now.filters.begin(), now.filters.end(), filter) == now.filters.end())
        now.filters.push_back(filter);
    now.epoch = known.epoch + 1;
    now.settled = false;
    const bool was_settled = std::exchange(known, now).settled;
    now.settled = was_settled;
    return now;
  }
  result<void> settle(const session_record& confirmed) override {
    if (auto failure = next(database_->session_failures); failure.code != errc::none)
      return failure;
    const auto known = database_->sessions.find({confirmed.client_id, confirmed.broker});
    if (known == database_->sessions.end() || known->second.epoch != confirmed.epoch)
      return {};
    if (confirmed.filters.empty()) {
      database_->sessions.erase(known);
    } else {
      known->second.filters = confirmed.filters;
      known->second.settled = true;
    }
    return {};
  }
  result<std::vector<session_record>> sessions() override {
    if (auto failure = next(database_->session_failures); failure.code != errc::none)
      return failure;
    std::vector<session_record> all;
    for (const auto& [unused, record] : database_->sessions)
      all.push_back(record);
    return all;
  }

  result<std::vector<storage::frame_outcome>> write(std::span<const record::frame_view* const> frames) override {
    if (auto failure = next(database_->write_failures); failure.code != errc::none)
      return failure;
    std::vector<storage::frame_outcome> outcomes;
    std::size_t messages = 0;
    for (const auto* frame : frames) {
      database_->with_messages.push_back(frame->has_messages());
      storage::frame_outcome outcome;
      for (std::size_t row = 0; row < frame->rows(); ++row) {
        const std::string key{frame->column(0).string(row)};
        if (frame->has_messages())
          database_->payloads[key] = frame->payload(row);
        if (database_->rows.contains(key)) {
          ++outcome.duplicate;
        } else {
          database_->rows.insert(key);
          ++outcome.stored;
        }
      }
      for (std::size_t i = 0; i < frame->letters(); ++i)
        database_->letters.emplace_back(frame->letter(i).payload);
      outcome.dead_lettered = static_cast<std::uint32_t>(frame->letters());
      messages += frame->rows() + frame->letters();
      outcomes.push_back(outcome);
    }
    database_->commits.push_back(messages);
    return outcomes;
  }

  result<std::vector<storage::dead_letter>> dead_letters(const storage::dead_letter_filter&) override {
    return unused();
  }
  result<std::vector<std::optional<error>>> replay(std::span<const storage::retried_letter>) override {
    return unused();
  }
  result<std::uint64_t> dead_letter_count(const std::string&) override { return unused(); }
  result<void> for_each_key(const storage::table&, const std::function<bool(const storage::key_text&)>&) override {
    return unused();
  }
  result<bool> contains(const storage::table&, const storage::key_text&) override { return unused(); }
  result<std::uint64_t> row_count(const storage::table&) override { return unused(); }
  result<std::uint64_t> delete_older(const storage::table&, const std::string&, wall_time, std::size_t) override {
    ++database_->deletions;
    if (auto failure = next(database_->delete_failures); failure.code != errc::none)
      return failure;
    return next(database_->deletes);
  }
  result<std::uint64_t> delete_older_letters(const std::string&, wall_time, std::size_t) override {
    return std::uint64_t{0};
  }
  result<void> ping() override {
    auto failure = next(database_->ping_failures);
    return failure.code == errc::none ? result<void>{} : result<void>{failure};
  }

private:
  template <class T>
  static T next(std::deque<T>& scripted) {
    if (scripted.empty())
      return {};
    auto first = std::move(scripted.front());
    scripted.pop_front();
    return first;
  }
  static error unused() { return {errc::unsupported, "no actor asks a store for this"}; }
  std::shared_ptr<memory_database> database_;
};

inline std::function<result<std::unique_ptr<storage::store>>()> opens(std::shared_ptr<memory_database> database) {
  return [database]() -> result<std::unique_ptr<storage::store>> {
    ++database->opened;
    if (!database->open_failures.empty()) {
      auto failure = database->open_failures.front();
      database->open_failures.pop_front();
      return failure;
    }
    return std::unique_ptr<storage::store>(std::make_unique<memory_store>(database));
  };
}

} // namespace penstock::testing
