// What a running node does about a new configuration: which pipelines it stops and starts, and what has to wait for the
// next start of the process.
#pragma once

#include "config/config.hpp"
#include "config/diff.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace penstock::config {

/// A part of the configuration that is started and stopped by itself.
struct part_change {
  enum class kind : std::uint8_t { added, removed, changed };
  part_change::kind what = kind::changed;
  std::string section;               ///< "ingest", "publish", "control" or "alerts"
  std::string name;                  ///< of the pipeline; empty: of the others
  std::vector<std::string> settings; ///< changed: its own below its section, those of brokers and databases in full

  std::string path() const; ///< "publish.TableA"
};

struct reload_plan {
  std::vector<part_change> parts;
  std::size_t unchanged = 0; ///< pipelines that are not touched
  bool log_level = false;    ///< taken at once
  std::vector<change> at_next_start;
  /// What runs afterwards: `wanted`, but for what waits for the next start.
  configuration next;

  /// "publish.TableB added, ingest.meters changed (topics), 3 pipelines unchanged"
  std::string to_text() const;
};

/// A pipeline has changed if one of its own settings has, or one of its broker's or databases'. Its `lag_warning` is
/// something of the alerts. What a running node cannot take stays as it is: data, node, supervision, log.format and
/// embedded brokers.
reload_plan plan_reload(const configuration& running, const configuration& wanted);

} // namespace penstock::config
