// The ingest pipeline of the actors' tests: JSON with an id, which is the key, into a table "readings".
#pragma once

#include "config/config.hpp"

namespace penstock::testing {

inline config::ingest readings_pipeline() {
  config::ingest pipeline;
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
  return pipeline;
}

} // namespace penstock::testing
