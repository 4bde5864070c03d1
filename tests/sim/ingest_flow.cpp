#include "tests/sim/ingest_flow.hpp"

#include "tests/sim/broker.hpp"
#include "tests/sim/connection.hpp"
#include "tests/support/memory_store.hpp"

#include <algorithm>
#include <charconv>

namespace penstock::sim {

using namespace std::chrono_literals;

namespace {

bool is_broken(std::int64_t number) { return number % 17 == 3; }  // no JSON
bool is_refused(std::int64_t number) { return number % 13 == 5; } // by the database

std::int64_t number_in(std::string_view payload) {
  constexpr std::string_view name{"\"at\":"};
  std::int64_t number = 0;
  const auto digits = payload.substr(payload.find(name) + name.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

config::column column_of(const char* name, column_type type) {
  config::column made;
  made.name = name;
  made.type = type;
  made.source.path = {{name, 0}};
  return made;
}

class target_connection final : public testing::memory_store, connection {
public:
  target_connection(world& given, process& from, ingest_flow& target)
    : memory_store(target.own_tables()), connection(given, from, service::target), target_(target) {}

  result<void> prepare(const storage::table&) override {
    return ask([] { return result<void>{}; });
  }
  result<std::string> installation_id() override {
    return ask([] { return result<std::string>{"sim"}; });
  }
  result<session_record> enlist(const session_record& wanted) override {
    return ask([&] { return memory_store::enlist(wanted); });
  }
  result<void> settle(const session_record& confirmed) override {
    return ask([&] { return memory_store::settle(confirmed); });
  }
  result<std::vector<session_record>> sessions() override {
    return ask([&] { return memory_store::sessions(); });
  }
  result<std::vector<storage::frame_outcome>> write(std::span<const record::frame_view* const> frames) override {
    return ask([&]() -> result<std::vector<storage::frame_outcome>> {
      if (std::any_of(frames.begin(), frames.end(),
                      [this](const auto* frame) { return target_.lacks_messages(*frame); }))
        return error{errc::row_refused, "refused, and its message is missing"};
      std::vector<storage::frame_outcome> outcomes;
      std::transform(frames.begin(), frames.end(), std::back_inserter(outcomes),
                     [this](const auto* frame) { return target_.take(*frame); });
      return outcomes;
    });
  }
  result<void> ping() override {
    return ask([] { return result<void>{}; });
  }

private:
  ingest_flow& target_;
};

} // namespace

config::ingest ingest_flow::pipeline_of(const scenario& given) {
  config::ingest pipeline;
  pipeline.name = "p";
  pipeline.topics = {"t/+"};
  pipeline.qos = given.qos;
  pipeline.shards = static_cast<std::uint16_t>(given.shards);
  pipeline.writers = static_cast<std::uint16_t>(given.lanes);
  pipeline.table = "rows";
  pipeline.columns = {column_of("device", column_type::text), column_of("at", column_type::integer)};
  pipeline.key = given.newest_wins ? std::vector<std::string>{"device"} : std::vector<std::string>{"device", "at"};
  if (given.newest_wins) {
    pipeline.on_conflict = config::conflict_rule::update;
    pipeline.order = "at";
  }
  pipeline.batch.records_max = given.batch;
  pipeline.in_flight.messages_max = given.window;
  return pipeline;
}

result<std::unique_ptr<storage::store>> ingest_flow::open(process& from) {
  bool broken = false;
  return world_.request(from, service::target, broken, [&]() -> result<std::unique_ptr<storage::store>> {
    return std::unique_ptr<storage::store>{std::make_unique<target_connection>(world_, from, *this)};
  });
}

// --- devices

void ingest_flow::arrange() {
  world_.spread(world_.given().items, [this] { send(); });
}

/// What nobody has subscribed to yet is sent again a little later.
void ingest_flow::send() {
  auto& broker = world_.the_broker();
  if (!broker.has_subscribers())
    return world_.after(world_.chance().between(50ms, 500ms), [this] { send(); });
  ++sent_;
  std::int64_t number = static_cast<std::int64_t>(devices_.size()) + 1;
  if (!devices_.empty() && world_.chance().chance(50)) {
    number = 1 + static_cast<std::int64_t>(world_.chance().below(devices_.size()));
    repeated_.insert(number);
  } else {
    devices_[number] = "d" + std::to_string(world_.chance().below(world_.given().keys));
  }
  broker.accept(number);
}

std::string ingest_flow::topic_of(std::int64_t number) const { return "t/" + devices_.at(number); }

std::string ingest_flow::payload_of(std::int64_t number) const {
  return fmt::format(R"({{"device":"{}","at":{}{})", devices_.at(number), number, is_broken(number) ? "" : "}");
}

// --- the table

bool ingest_flow::lacks_messages(const record::frame_view& frame) const {
  for (std::size_t row = 0; row < frame.rows(); ++row)
    if (!frame.has_messages() && is_refused(frame.column(1).integer(row)))
      return true;
  return false;
}

storage::frame_outcome ingest_flow::take(const record::frame_view& frame) {
  storage::frame_outcome outcome;
  for (std::size_t row = 0; row < frame.rows(); ++row)
    take_row(frame, row, outcome);
  for (std::size_t letter = 0; letter < frame.letters(); ++letter) {
    const auto number = number_in(frame.letter(letter).payload);
    if (!is_broken(number))
      world_.violate(fmt::format("message {} became a dead letter", number));
    ++outcome.dead_lettered;
    settled_.insert(number);
  }
  written_.stored += outcome.stored;
  written_.duplicate += outcome.duplicate;
  written_.dead_lettered += outcome.dead_lettered;
  return outcome;
}

void ingest_flow::take_row(const record::frame_view& frame, std::size_t row, storage::frame_outcome& outcome) {
  const std::string device{frame.column(0).string(row)};
  const auto number = frame.column(1).integer(row);
  const auto known = devices_.find(number);
  if (known == devices_.end() || known->second != device || is_broken(number))
    return world_.violate(fmt::format("a row {} of {} was written that nobody has sent", number, device));
  settle(frame.shard(), number);
  if (is_refused(number)) {
    ++outcome.dead_lettered;
    return;
  }
  auto& newest = rows_[world_.given().newest_wins ? device : device + "/" + std::to_string(number)];
  ++(newest < number ? outcome.stored : outcome.duplicate);
  newest = std::max(newest, number);
}

/// A shard has the messages of a device in their order, and keeps it; but what the device itself repeats, and what was
/// on its way when the broker forgot the session.
void ingest_flow::settle(std::uint32_t shard, std::int64_t number) {
  if (!settled_.insert(number).second || repeated_.contains(number) || excused_.contains(number))
    return;
  auto& newest = newest_[{shard, devices_.at(number)}];
  if (world_.given().newest_wins && number < newest)
    world_.violate(
      fmt::format("message {} of shard {} was committed behind {}, of the same device", number, shard, newest));
  newest = std::max(newest, number);
}

// --- what is to hold

void ingest_flow::check_acknowledged(std::int64_t number) const {
  if (!is_settled(number))
    world_.violate(fmt::format("message {} was acknowledged, and is not committed", number));
}

void ingest_flow::check_account(const std::string& instance, const telemetry::account& counted) {
  accounts_[instance] = counted;
  telemetry::account all;
  for (const auto& [unused, each] : accounts_)
    all += each;
  if (all.committed > written_.stored || all.duplicate > written_.duplicate ||
      all.dead_lettered > written_.dead_lettered)
    world_.violate(fmt::format("the accounts say {} stored, {} duplicates, {} dead letters; written were {}, {}, {}",
                               all.committed, all.duplicate, all.dead_lettered, written_.stored, written_.duplicate,
                               written_.dead_lettered));
}

bool ingest_flow::is_done() const { return sent_ == world_.given().items && world_.the_broker().has_delivered_all(); }

void ingest_flow::check_end() {
  std::map<std::string, std::int64_t> expected;
  for (const auto& [number, device] : devices_) {
    if (!is_settled(number) && !excused_.contains(number))
      world_.violate(fmt::format("message {} was never stored", number));
    if (!is_settled(number) || is_broken(number) || is_refused(number))
      continue;
    auto& newest = expected[world_.given().newest_wins ? device : device + "/" + std::to_string(number)];
    newest = std::max(newest, number);
  }
  if (expected != rows_)
    world_.violate(
      fmt::format("{} rows are to be in the table, or others: there are {}", expected.size(), rows_.size()));
}

} // namespace penstock::sim
