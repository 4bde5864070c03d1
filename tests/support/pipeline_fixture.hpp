// One ingest pipeline's actors, with a scripted broker and a database in memory.
#pragma once

#include "actors/batch_writer.hpp"
#include "actors/ingestor.hpp"
#include "actors/pipeline_actors.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/memory_store.hpp"
#include "tests/support/readings.hpp"
#include "tests/support/scripted_session.hpp"

#include <memory>
#include <string>
#include <vector>

namespace penstock::testing {

class pipeline_fixture : public actor_fixture {
protected:
  ~pipeline_fixture() override {
    for (const auto& each : ingestors)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    if (retirer)
      caf::anon_send_exit(retirer, caf::exit_reason::kill);
    for (const auto& each : {writer, other_writer})
      if (each)
        caf::anon_send_exit(each, caf::exit_reason::kill);
  }

  /// The batch-writer of lane 0.
  messages::batch_writer_actor spawn_writer(std::uint32_t demand_max = 10) {
    writer = make_writer(0, demand_max);
    for (const auto& each : ingestors)
      introduce(each);
    if (retirer)
      introduce(retirer);
    return writer;
  }
  /// And of lane 1; set pipeline.writers first.
  messages::batch_writer_actor spawn_other_writer(std::uint32_t demand_max = 10) {
    other_writer = make_writer(1, demand_max);
    for (const auto& each : ingestors)
      introduce(each);
    return other_writer;
  }

  messages::batch_writer_actor make_writer(std::uint32_t lane, std::uint32_t demand_max) {
    actors::batch_writer_config config;
    config.name = actors::writer_name("p", lane);
    config.lane = lane;
    config.table = storage::table_of(pipeline);
    config.records_max = pipeline.batch.records_max;
    config.demand_max = demand_max;
    config.open = opens(lane == 0 ? database : other_database);
    config.board = board.writer("p", lane);
    return system.spawn(actors::batch_writer, config);
  }

  messages::ingestor_actor spawn_ingestor(std::shared_ptr<broker_script> broker) {
    actors::ingestor_config config;
    const auto shard = static_cast<std::uint32_t>(ingestors.size());
    config.name = actors::ingestor_name("p", shard);
    config.pipeline = pipeline;
    config.shard = shard;
    config.open_session = scripted(std::move(broker));
    config.board = board.shard("p", shard);
    config.pipeline_board = board.pipeline("p");
    ingestors.push_back(system.spawn(actors::ingestor, config));
    introduce(ingestors.back());
    return ingestors.back();
  }

  /// The ingestor that retires sessions, those of `retired` client ids.
  messages::ingestor_actor spawn_retirer(std::shared_ptr<broker_script> broker) {
    actors::ingestor_config config;
    config.name = actors::retiring_name("p");
    config.pipeline = pipeline;
    config.open_session = scripted(std::move(broker));
    config.board = board.retirement("p");
    config.pipeline_board = board.pipeline("p");
    config.retirement.emplace();
    config.retirement->fate = [this](const session_record& session) { return fate(session); };
    config.retirement->board = board.retirement("p");
    retirer = system.spawn(actors::ingestor, config);
    introduce(retirer);
    return retirer;
  }

  void introduce(const messages::ingestor_actor& ingestor) {
    const messages::batch_writer_actor* const lanes[] = {&writer, &other_writer};
    for (std::uint32_t lane = 0; lane < pipeline.writers; ++lane)
      if (*lanes[lane])
        caf::anon_send(ingestor, messages::writer_atom_v, lane, caf::actor_cast<caf::strong_actor_ptr>(*lanes[lane]),
                       link_version);
  }

  /// Payloads {"id":"<from>"} up to and including <to>.
  static std::vector<std::string> payloads(int from, int to) {
    std::vector<std::string> result;
    for (int i = from; i <= to; ++i)
      result.push_back(R"({"id":")" + std::to_string(i) + R"("})");
    return result;
  }

  telemetry::account account() {
    const auto now = board.snapshot();
    return now.pipelines.at(0).account;
  }

  config::ingest pipeline = readings_pipeline();
  std::shared_ptr<memory_database> database = std::make_shared<memory_database>();
  std::shared_ptr<broker_script> broker = std::make_shared<broker_script>();
  /// What lane 1 writes to, so that a test can hold up one lane alone.
  std::shared_ptr<memory_database> other_database = std::make_shared<memory_database>();
  messages::batch_writer_actor writer;
  messages::batch_writer_actor other_writer;
  std::vector<messages::ingestor_actor> ingestors;
  messages::ingestor_actor retirer;
  std::uint16_t link_version = messages::link_version; ///< of the batch-writers' node
  /// What becomes of sessions; by default none is retired.
  std::function<config::session_fate(const session_record&)> fate = [](const session_record&) {
    return config::session_fate{};
  };
};

} // namespace penstock::testing
