#include "tests/sim/process.hpp"

#include "actors/poller.hpp"
#include "actors/publisher.hpp"
#include "cluster/membership.hpp"
#include "cluster/shards.hpp"
#include "tests/sim/databases.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <utility>

namespace penstock::sim {

using namespace std::chrono_literals;
using actors::child_spec;

namespace {

template <class State, class Behaviour, class Config>
child_spec child_of(Behaviour behaviour, Config config) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = State::name;
  spec.start = [behaviour, config = std::move(config)](caf::actor_system& system) {
    return caf::actor_cast<caf::actor>(system.spawn(behaviour, config));
  };
  return spec;
}

actors::supervisor_config supervised(std::string name) {
  actors::supervisor_config config;
  config.name = std::move(name);
  config.restarts_max = 1'000; // simulations fail more often than nodes
  return config;
}

config::publish publish_of(const scenario& given) {
  config::publish pipeline;
  pipeline.name = "p";
  pipeline.table = "rows";
  pipeline.key = {"id"};
  pipeline.shards = static_cast<std::uint16_t>(given.shards);
  pipeline.qos = given.qos;
  pipeline.in_flight_max = 20;
  pipeline.publish_timeout = 5s;
  pipeline.on_lost_session = given.hold ? config::lost_session_rule::hold : config::lost_session_rule::resend;
  return pipeline;
}

} // namespace

process::process(world& given, std::string node, std::string instance)
  : world_(given), node_(std::move(node)), instance_(std::move(instance)), publish_(publish_of(given.given())) {
  // Clocks differ, by anything.
  scheduler().clock().current_time += given.chance().between(1h, 1'000h);
  for (std::uint32_t shard = 0; shard < publish_.shards; ++shard)
    shard_boards_.push_back(board_.publish_shard(publish_.name, shard));
  auto config = supervised("root");
  config.stop_in_reverse = true;
  root_ = system_.spawn(actors::supervisor, std::move(config),
                        std::vector<child_spec>{publish_pipeline(), membership_child()}, &directory_);
  root_->attach_functor([this] { ended_ = true; });
}

process::~process() {
  alive = false;
  caf::anon_send_exit(root_, caf::exit_reason::kill);
  root_ = nullptr;
  while (scheduler().try_run_once()) {
  }
}

caf::scheduler::test_coordinator& process::scheduler() const {
  return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
}

monotonic process::clock() const { return system_.clock().now(); }

void process::crash() {
  alive = false;
  world_.the_broker().cut_all_of(*this);
}

void process::stop() { caf::anon_send_exit(root_, caf::exit_reason::user_shutdown); }

bool process::has_event() const {
  return scheduler().has_job() ||
         std::any_of(clients.begin(), clients.end(), [](const client* each) { return each->has_event(); });
}

void process::act() {
  std::vector<client*> ready;
  std::copy_if(clients.begin(), clients.end(), std::back_inserter(ready),
               [](const client* each) { return each->has_event(); });
  auto& jobs = scheduler().jobs;
  const auto chosen = world_.chance().below(jobs.size() + ready.size());
  if (chosen >= jobs.size())
    return ready[chosen - jobs.size()]->act();
  std::rotate(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(chosen),
              jobs.begin() + static_cast<std::ptrdiff_t>(chosen) + 1);
  scheduler().run_once();
}

void process::pass(monotonic::duration time) { scheduler().advance_time(time); }

monotonic::duration process::until_next_timer() const {
  const auto& timers = scheduler().clock().schedule();
  return timers.empty() ? monotonic::duration::max() : timers.begin()->first - clock();
}

void process::kill_an_actor() {
  auto names = directory_.names();
  std::erase(names, "root");
  if (names.empty())
    return;
  const auto& chosen = names[world_.chance().below(names.size())];
  world_.trace("{} of {} is killed", chosen, instance_);
  killed_ = true;
  directory_.kill(chosen);
}

void process::check() const {
  if (killed_)
    return;
  for (const auto& each : shard_boards_)
    if (const auto now = each->status({}); !now.account.balanced())
      world_.violate(fmt::format("{}: shard {} has claimed {}, and sent {}, refused {}, held {}, in flight {}",
                                 instance_, now.shard, now.account.claimed, now.account.sent, now.account.refused,
                                 now.account.held, now.account.in_flight));
}

std::string process::to_text() const {
  std::string shards;
  for (const auto& each : shard_boards_) {
    const auto now = each->status({});
    shards += fmt::format("; shard {}: {} claimed, {} in flight, backlog {}, window {}, {}", now.shard,
                          now.account.claimed, now.account.in_flight, now.backlog, now.window,
                          now.connection.connected ? "connected" : now.connection.reason);
  }
  const auto& timers = scheduler().clock().schedule();
  return fmt::format("{}: {} jobs, {} timers, {} clients{}", instance_, scheduler().jobs.size(), timers.size(),
                     clients.size(), shards);
}

// --- the tree, as nodes/pipeline.cpp has it

child_spec process::poller_child() {
  actors::poller_config config;
  config.name = publish_.name + "/poller";
  config.pipeline = publish_;
  config.open_source = [this] { return world_.the_databases().open_source(*this); };
  config.open_tracking = [this] { return world_.the_databases().open_tracking(*this); };
  config.board = board_.publish(publish_.name);
  config.shards = shard_boards_;
  config.holds = [this](std::uint32_t shard, monotonic since) {
    return leases_->holds({publish_.name, shard}, since, clock());
  };
  return child_of<actors::poller_state>(actors::poller, config);
}

child_spec process::publisher_child(std::uint32_t shard) {
  actors::publisher_config config;
  config.name = publish_.name + "/publisher/" + std::to_string(shard);
  config.shard = shard;
  config.board = shard_boards_[shard];
  config.open_session = [this, shard](const std::string& installation, actors::publish_session_handlers handlers) {
    client_config options;
    options.session.client_id = installation + "-" + publish_.name + "-" + std::to_string(shard);
    options.session.publish_window_max = publish_.in_flight_max;
    options.session.publish_timeout = publish_.publish_timeout;
    options.session.keep_alive = 5s;
    options.session.release_by_caller = true;
    options.session.on_request = true;
    mqtt::client_handlers callbacks;
    callbacks.on_state = std::move(handlers.on_state);
    callbacks.on_published = std::move(handlers.on_published);
    callbacks.on_dial = std::move(handlers.on_dial);
    return std::make_unique<client>(world_, *this, std::move(options), std::move(callbacks));
  };
  return child_of<actors::publisher_state>(actors::publisher, config);
}

child_spec process::publish_pipeline() {
  auto config = supervised(publish_.name);
  config.on_start = [poller = publish_.name + "/poller", prefix = publish_.name + "/publisher/",
                     shards = publish_.shards](const std::string& child, const auto& find) {
    const auto source = find(poller);
    for (std::uint32_t shard = 0; shard < shards; ++shard)
      if (const auto publisher = prefix + std::to_string(shard); child == poller || child == publisher)
        if (const auto target = find(publisher); source && target)
          caf::anon_send(target, messages::poller_atom_v, caf::actor_cast<caf::strong_actor_ptr>(source));
  };
  child_spec spec;
  spec.name = config.name;
  spec.kind = "supervisor";
  spec.stop_timeout = 30s;
  spec.start = [this, config = std::move(config)](caf::actor_system& system) {
    std::vector<child_spec> children{poller_child()};
    for (std::uint32_t shard = 0; shard < publish_.shards; ++shard)
      if (runs({publish_.name, shard}))
        children.push_back(publisher_child(shard));
    return caf::actor_cast<caf::actor>(system.spawn(actors::supervisor, config, std::move(children), &directory_));
  };
  return spec;
}

std::vector<child_spec> process::children_of(const storage::shard_id& shard) { return {publisher_child(shard.shard)}; }

void process::start_shard(const storage::shard_id& shard) {
  const auto supervisor = directory_.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return;
  auto changes = std::make_shared<actors::child_changes>();
  for (auto& child : children_of(shard)) {
    auto name = child.name;
    changes->children.push_back({std::move(name), std::move(child)});
  }
  caf::anon_send(supervisor, actors::child_changes_ptr{std::move(changes)});
}

void process::stop_shard(const storage::shard_id& shard, std::function<void()> on_done) {
  const auto supervisor = directory_.find(cluster::pipeline_of(shard));
  if (!supervisor)
    return on_done();
  auto changes = std::make_shared<actors::child_changes>();
  for (const auto& child : children_of(shard))
    changes->children.push_back({child.name, {}});
  changes->on_done = std::move(on_done);
  caf::anon_send(supervisor, actors::child_changes_ptr{std::move(changes)});
}

child_spec process::membership_child() {
  cluster::membership_config config;
  config.me.name = node_;
  config.me.instance = instance_;
  config.me.roles = {"publish"};
  config.lease = world_.given().lease;
  config.open = [this] { return world_.the_databases().open_state(*this); };
  config.wanted = [this] {
    std::vector<cluster::wanted_shard> all;
    for (std::uint32_t shard = 0; shard < publish_.shards; ++shard)
      all.push_back({{publish_.name, shard}, "publish"});
    return all;
  };
  config.held = leases_;
  config.start = [this](const storage::shard_id& shard) { start_shard(shard); };
  config.stop = [this](const storage::shard_id& shard, std::function<void()> on_done) {
    stop_shard(shard, std::move(on_done));
  };
  auto spec = child_of<cluster::membership_state>(cluster::membership, config);
  spec.stop_timeout = 30s;
  return spec;
}

} // namespace penstock::sim
