#include "actors/retirement.hpp"

#include "telemetry/log.hpp"

#include <algorithm>

namespace penstock::actors {

using fate_kind = config::session_fate::kind;

retirement::retirement(retirement_config config, std::string pipeline)
  : config_(std::move(config)), pipeline_(std::move(pipeline)) {}

void retirement::give_up(const session_record& session) { given_up_.emplace(session.client_id, session.broker); }

retirement::step retirement::look(const std::vector<session_record>& all, const session_record& first) {
  tell_of_ownerless(all);
  const auto retired = config::session_fate{fate_kind::retired, pipeline_};
  std::vector<session_record> ours;
  std::copy_if(all.begin(), all.end(), std::back_inserter(ours),
               [&](const session_record& each) { return config_.fate(each) == retired; });
  config_.board->show(ours.size());
  const bool settled = std::any_of(all.begin(), all.end(), [&](const session_record& each) {
    return each.client_id == first.client_id && each.broker == first.broker && each.settled &&
           each.filters == first.filters;
  });
  if (!ours.empty() && !settled)
    return {std::nullopt, config_.look_again};
  for (const auto& each : ours)
    if (!given_up_.contains({each.client_id, each.broker}) && !(config_.runs_elsewhere && config_.runs_elsewhere(each)))
      return {each};
  given_up_.clear();
  return {std::nullopt, config_.look_every};
}

void retirement::tell_of_ownerless(const std::vector<session_record>& all) {
  if (!config_.tells_of_ownerless)
    return;
  std::string names;
  for (const auto& each : all)
    if (config_.fate(each).what == fate_kind::ownerless)
      names += (names.empty() ? "" : ", ") + each.client_id + " at broker " + each.broker;
  if (std::exchange(told_, names) != names && !names.empty())
    log::warning("ingestor", pipeline_,
                 "sessions of pipelines that are gone keep messages at their brokers, and no pipeline can store them: "
                 "{}. Configure the pipeline again, or end them (docs: delivery, sessions)",
                 names);
}

} // namespace penstock::actors
