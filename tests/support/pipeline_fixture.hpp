// One ingest pipeline's actors, with a scripted broker and a database in memory.
#pragma once

#include "actors/batch_writer.hpp"
#include "actors/ingestor.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/memory_store.hpp"
#include "tests/support/scripted_session.hpp"

#include <memory>
#include <string>
#include <vector>

namespace penstock::testing {

class pipeline_fixture : public actor_fixture {
protected:
  pipeline_fixture() {
    pipeline.name = "p";
    pipeline.topics = {"t/{device}"};
    pipeline.format = "json";
    pipeline.table = "readings";
    pipeline.key = {"id"};
    config::column id;
    id.name = "id";
    id.type = column_type::text;
    id.source.from = config::source::kind::payload_path;
    id.source.path = {{"id", 0}};
    pipeline.columns = {id};
    pipeline.batch.records_max = 100;
  }

  ~pipeline_fixture() override {
    for (const auto& each : ingestors)
      caf::anon_send_exit(each, caf::exit_reason::kill);
    if (writer)
      caf::anon_send_exit(writer, caf::exit_reason::kill);
  }

  messages::batch_writer_actor spawn_writer(std::uint32_t demand_max = 10) {
    actors::batch_writer_config config;
    config.name = "p/batch-writer";
    config.table = storage::table_of(pipeline);
    config.records_max = pipeline.batch.records_max;
    config.demand_max = demand_max;
    config.open = opens(database);
    config.board = board.pipeline("p");
    writer = system.spawn(actors::batch_writer, config);
    for (const auto& each : ingestors)
      introduce(each);
    return writer;
  }

  messages::ingestor_actor spawn_ingestor(std::shared_ptr<broker_script> broker) {
    actors::ingestor_config config;
    const auto shard = static_cast<std::uint32_t>(ingestors.size());
    config.name = "p/ingestor/" + std::to_string(shard);
    config.pipeline = pipeline;
    config.shard = shard;
    config.open_session = scripted(std::move(broker));
    config.board = board.shard("p", shard);
    config.pipeline_board = board.pipeline("p");
    ingestors.push_back(system.spawn(actors::ingestor, config));
    introduce(ingestors.back());
    return ingestors.back();
  }

  void introduce(const messages::ingestor_actor& ingestor) {
    if (writer)
      caf::anon_send(ingestor, messages::writer_atom_v, caf::actor_cast<caf::strong_actor_ptr>(writer));
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

  config::ingest pipeline;
  std::shared_ptr<memory_database> database = std::make_shared<memory_database>();
  std::shared_ptr<broker_script> broker = std::make_shared<broker_script>();
  messages::batch_writer_actor writer;
  std::vector<messages::ingestor_actor> ingestors;
};

} // namespace penstock::testing
