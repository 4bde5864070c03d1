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

bool start_shard(const node_context& context, const storage::shard_id& shard) {
  show(context, shard, true);
  const auto supervisor = context.directory.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return false;
  auto missing = children_of(context, shard);
  std::erase_if(missing, [&](const auto& child) { return static_cast<bool>(context.directory.find(child.name)); });
  if (!missing.empty())
    actors::start_children(supervisor, std::move(missing));
  return true;
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
