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
  const auto supervisor = context.directory.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return;
  auto changes = std::make_shared<actors::child_changes>();
  for (auto& child : children_of(context, shard)) {
    auto name = child.name;
    changes->children.push_back({std::move(name), std::move(child)});
  }
  caf::anon_send(supervisor, actors::child_changes_ptr{std::move(changes)});
}

void stop_shard(const node_context& context, const storage::shard_id& shard, std::function<void()> on_done) {
  auto done = [context, shard, on_done = std::move(on_done)] {
    show(context, shard, false);
    on_done();
  };
  const auto supervisor = context.directory.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return done();
  auto changes = std::make_shared<actors::child_changes>();
  for (const auto& child : children_of(context, shard))
    changes->children.push_back({child.name, {}});
  changes->on_done = std::move(done);
  caf::anon_send(supervisor, actors::child_changes_ptr{std::move(changes)});
}

} // namespace penstock::nodes
