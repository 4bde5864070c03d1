// Ingest in a simulation: what devices send, and the table that it is to come to. A message is a number: it rises in
// the order in which the broker has accepted them.
//
// A scenario has rows by device and number, each stored once; or by device, of which the newest stays (`on_conflict:
// update` with an ordering column). Some payloads are no JSON, and some rows are refused by the database: both are to
// become dead letters.
#pragma once

#include "config/config.hpp"
#include "storage/store.hpp"
#include "telemetry/board.hpp"
#include "tests/sim/flow.hpp"
#include "tests/sim/world.hpp"
#include "tests/support/memory_store.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

namespace penstock::sim {

class ingest_flow final : public flow {
public:
  explicit ingest_flow(world& given) : world_(given) {}

  void arrange() override;
  bool is_done() const override;
  void check_end() override;

  static config::ingest pipeline_of(const scenario& given);
  result<std::unique_ptr<storage::store>> open(process& from);

  // --- the broker's

  std::string topic_of(std::int64_t number) const;
  std::string payload_of(std::int64_t number) const;
  /// The session that had it is forgotten: it may be lost.
  void excuse(std::int64_t number) { excused_.insert(number); }
  /// An ingestor says that it need not be sent again.
  void check_acknowledged(std::int64_t number) const;

  // --- the database's

  storage::frame_outcome take(const record::frame_view& frame);
  /// It has a row that is refused, and came without the messages of its rows.
  bool lacks_messages(const record::frame_view& frame) const;
  /// What the target database has beside the rows.
  std::shared_ptr<testing::memory_database> own_tables() const { return own_tables_; }

  // --- the processes'

  /// What a process has counted since its start. All of them together have not counted more than was written.
  void check_account(const std::string& instance, const telemetry::account& counted);

private:
  void send();
  bool is_settled(std::int64_t number) const { return settled_.contains(number); }
  void settle(std::uint32_t shard, std::int64_t number);
  void take_row(const record::frame_view& frame, std::size_t row, storage::frame_outcome& outcome);

  world& world_;
  std::shared_ptr<testing::memory_database> own_tables_ = std::make_shared<testing::memory_database>();
  std::size_t sent_ = 0;                        ///< with repeats
  std::map<std::int64_t, std::string> devices_; ///< by number: accepted by the broker
  std::set<std::int64_t> repeated_;             ///< the device has sent it twice
  std::set<std::int64_t> excused_;
  std::set<std::int64_t> settled_;           ///< committed: as a row, a duplicate or a dead letter
  std::map<std::string, std::int64_t> rows_; ///< by key
  std::map<std::pair<std::uint32_t, std::string>, std::int64_t> newest_; ///< settled, by shard and device
  storage::frame_outcome written_;                                       ///< in all
  std::map<std::string, telemetry::account> accounts_;                   ///< by process
};

} // namespace penstock::sim
