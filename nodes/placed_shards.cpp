#include "nodes/placed_shards.hpp"

#include "cluster/shards.hpp"

namespace penstock::nodes {

namespace {

void show(const node_context& context, const storage::shard_id& shard, bool here) {
  const auto pipeline = cluster::pipeline_of(shard);
  if (cluster::is_lane(shard))
    context.board.place_writer(pipeline, shard.shard, here);
  else
    context.board.place(pipeline, shard.shard, here);
}

} // namespace

void start_shard(const node_context& context, const storage::shard_id& shard) {
  show(context, shard, true);
  if (const auto supervisor = context.directory.find(cluster::pipeline_of(shard)))
    actors::start_children(supervisor, children_of(context, shard));
}

void stop_shard(const node_context& context, const storage::shard_id& shard, std::function<void()> on_done) {
  auto done = [context, shard, on_done = std::move(on_done)] {
    show(context, shard, false);
    on_done();
  };
  const auto supervisor = context.directory.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return done();
  actors::stop_children(supervisor, children_of(context, shard), std::move(done));
}

} // namespace penstock::nodes
