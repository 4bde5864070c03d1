// Which session of a former generation an ingestor is to drain and end next: one after the other, of those that the
// configuration gives to its pipeline (config/session_fate.hpp). Pure, but for what it logs and shows.
#pragma once

#include "config/session_fate.hpp"
#include "core/session_record.hpp"
#include "telemetry/board.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace penstock::actors {

struct retirement_config {
  /// Under the configuration in force.
  std::function<config::session_fate(const session_record&)> fate;
  /// Another node of the cluster runs the shard: its file is another still. Empty: there are none.
  std::function<bool(const session_record&)> runs_elsewhere;
  bool tells_of_ownerless = false; ///< of all pipelines on a database, one does
  std::shared_ptr<telemetry::retirement_board> board;
  std::chrono::milliseconds look_every{30'000}; ///< while there is nothing that can be retired
  std::chrono::milliseconds look_again{500};    ///< while the pipeline's own subscriptions are not confirmed
  std::chrono::milliseconds patience{10'000};   ///< for a session that is not connected; then the next one has its turn
};

class retirement {
public:
  retirement(retirement_config config, std::string pipeline);

  struct step {
    std::optional<session_record> session; ///< to be retired now
    std::chrono::milliseconds wait{0};     ///< nothing: look again then
  };
  /// `first`: the session of the pipeline's first shard, as it is to be. None is retired before that one is settled, or
  /// what is published in between would have nowhere to go.
  step look(const std::vector<session_record>& all, const session_record& first);
  /// It cannot be retired now: the others come first.
  void give_up(const session_record& session);

  const retirement_config& config() const { return config_; }

private:
  void tell_of_ownerless(const std::vector<session_record>& all);

  retirement_config config_;
  std::string pipeline_;
  std::set<std::pair<std::string, std::string>> given_up_; ///< client id and broker
  std::string told_;
};

} // namespace penstock::actors
