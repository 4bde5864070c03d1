#include "tests/sim/broker.hpp"
#include "tests/sim/databases.hpp"
#include "tests/sim/flow.hpp"

namespace penstock::sim {

using namespace std::chrono_literals;

namespace {

bool is_refused(std::int64_t row) { return row % 13 == 5; } // by the tracking database, with what it would send

class publish_flow final : public flow {
public:
  explicit publish_flow(world& given) : world_(given) {}

  void arrange() override {
    world_.the_databases().records->takes = [](const storage::claimed_record& claim) {
      return claim.payload.empty() || !is_refused(std::stoll(claim.record_id));
    };
    world_.spread(world_.given().items, [this] { add_row(); });
  }

  bool is_done() const override {
    const auto rows = world_.given().items;
    const auto& records = *world_.the_databases().records;
    return world_.the_databases().table->rows.size() == rows && records.count("claimed") == 0 &&
           records.records.size() == rows;
  }

  void check_end() override {
    auto& broker = world_.the_broker();
    const auto& records = world_.the_databases().records->records;
    for (const auto& [id, unused] : world_.the_databases().table->rows) {
      const auto& record = records.at(std::to_string(id) + "/");
      if (world_.given().qos == 2 && is_refused(id)) {
        if (record.state != "refused" || broker.delivered[id] != 0)
          world_.violate(fmt::format("row {}, which is refused, is {}, and was delivered {} times", id, record.state,
                                     broker.delivered[id]));
        continue;
      }
      const bool excused = broker.excused.contains(id);
      if (record.state == "held" ? !excused || !world_.given().hold : record.state != "sent")
        world_.violate(fmt::format("row {} is {} at the end", id, record.state));
      if (broker.delivered[id] == 0 && !excused)
        world_.violate(fmt::format("row {} was never delivered, and counts as {}", id, record.state));
    }
  }

private:
  /// Some become visible late: a transaction that took an id and was long.
  void add_row() {
    const auto id = ++last_row_;
    const auto monitor = "m" + std::to_string(world_.chance().below(world_.given().keys));
    if (world_.chance().chance(950))
      return world_.the_databases().add_row(id, monitor, false);
    world_.after(world_.chance().between(1ms, 1s), [this, id, monitor] {
      world_.trace("row {} is visible late", id);
      world_.the_databases().add_row(id, monitor, true);
    });
  }

  world& world_;
  std::int64_t last_row_ = 0;
};

} // namespace

std::unique_ptr<flow> make_publish_flow(world& given) { return std::make_unique<publish_flow>(given); }

} // namespace penstock::sim
