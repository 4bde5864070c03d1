#include "tests/sim/process.hpp"

#include "actors/agent.hpp"
#include "actors/batch_writer.hpp"
#include "actors/ingestor.hpp"
#include "actors/pipeline_actors.hpp"
#include "actors/poller.hpp"
#include "actors/publisher.hpp"
#include "cluster/membership.hpp"
#include "cluster/neighbours.hpp"
#include "cluster/shards.hpp"
#include "tests/sim/databases.hpp"
#include "tests/sim/ingest_flow.hpp"
#include "tests/sim/network.hpp"

#include <caf/exit_reason.hpp>

#include <algorithm>
#include <utility>

namespace penstock::sim {

using namespace std::chrono_literals;
using actors::child_spec;

namespace {

constexpr const char* pipeline_name = "p";

std::string client_id(const std::string& installation, std::uint32_t shard) {
  return installation + "-p-" + std::to_string(shard);
}

actors::supervisor_config supervised(std::string name) {
  actors::supervisor_config config;
  config.name = std::move(name);
  config.restarts_max = 1'000; // simulations fail more often than nodes
  return config;
}

config::publish publish_of(const scenario& given) {
  config::publish pipeline;
  pipeline.name = pipeline_name;
  pipeline.table = "rows";
  pipeline.key = {"id"};
  pipeline.shards = static_cast<std::uint16_t>(given.shards);
  pipeline.qos = given.qos;
  pipeline.in_flight_max = 20;
  pipeline.publish_timeout = 5s;
  pipeline.on_lost_session = given.hold ? config::lost_session_rule::hold : config::lost_session_rule::resend;
  return pipeline;
}

/// Where the roles are split, every second node has the ingestors, and the others the batch-writers.
std::vector<std::string> roles_of(const std::string& node, const scenario& given) {
  if (!given.split_roles)
    return {"ingest", "publish", "write"};
  return {(node.front() - 'a') % 2 == 0 ? "ingest" : "write", "publish"};
}

/// Of an actor that lives; nullptr: it does not, or is none of these.
template <class Handle, class State>
const State* state_of(const caf::actor& handle) {
  auto* const known = handle ? caf::actor_cast<caf::abstract_actor*>(handle) : nullptr;
  if (known == nullptr || known->getf(caf::abstract_actor::is_terminated_flag))
    return nullptr;
  const auto* const stateful = dynamic_cast<typename Handle::template stateful_pointer<State>>(known);
  return stateful == nullptr ? nullptr : &stateful->state;
}

} // namespace

process::process(world& given, std::string node, std::string instance)
  : world_(given), node_(std::move(node)), instance_(std::move(instance)) {
  // Clocks differ, by anything.
  scheduler().clock().current_time += given.chance().between(1h, 1'000h);
  const auto shards = given.given().shards;
  if (given.given().ingest)
    ingest_ = &(configuration_.ingest[pipeline_name] = ingest_flow::pipeline_of(given.given()));
  else
    publish_ = &(configuration_.publish[pipeline_name] = publish_of(given.given()));
  for (std::uint32_t shard = 0; shard < shards; ++shard)
    if (ingest_)
      ingest_boards_.push_back(board_.shard(pipeline_name, shard));
    else
      publish_boards_.push_back(board_.publish_shard(pipeline_name, shard));
  network_ = network::make_manager(given, *this);
  auto config = supervised("root");
  config.stop_in_reverse = true;
  root_ = system_.spawn(actors::supervisor, std::move(config),
                        std::vector<child_spec>{pipeline_child(), agent_child(), membership_child()}, &directory_);
  root_->attach_functor([this] { ended_ = true; });
}

process::~process() {
  alive = false;
  caf::anon_send_exit(root_, caf::exit_reason::kill);
  caf::anon_send_exit(network_, caf::exit_reason::kill);
  root_ = nullptr;
  network_ = nullptr;
  while (scheduler().try_run_once() || multiplexer().try_exec_runnable()) {
  }
}

caf::scheduler::test_coordinator& process::scheduler() const {
  return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
}

caf::io::network::test_multiplexer& process::multiplexer() {
  return dynamic_cast<caf::io::network::test_multiplexer&>(system_.middleman().backend());
}

void process::flush_network() {
  while (multiplexer().try_exec_runnable()) {
  }
}

monotonic process::clock() const { return system_.clock().now(); }

void process::crash() {
  alive = false;
  world_.the_broker().cut_all_of(*this);
  world_.the_network().leave(*this);
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
  flush_network();
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
  directory_.kill(chosen);
}

// --- what is to hold

void process::check() const {
  for (const auto& each : publish_boards_)
    if (const auto now = each->status({}); !now.account.balanced())
      world_.violate(fmt::format("{}: shard {} has claimed {}, and sent {}, refused {}, held {}, in flight {}",
                                 instance_, now.shard, now.account.claimed, now.account.sent, now.account.refused,
                                 now.account.held, now.account.in_flight));
  if (ingest_)
    check_ingest();
}

void process::check_ingest() const {
  telemetry::account all;
  for (const auto& each : ingest_boards_) {
    const auto now = each->status({}, {});
    if (!now.account.balanced())
      world_.violate(fmt::format("{}: shard {} has received {}, and committed {}, duplicates {}, dead letters {}, "
                                 "rejected {}, in flight {}",
                                 instance_, now.shard, now.account.received, now.account.committed,
                                 now.account.duplicate, now.account.dead_lettered, now.account.rejected_total(),
                                 now.account.in_flight));
    all += now.account;
    check_ingestor(now.shard);
  }
  world_.ingest().check_account(instance_, all);
  for (std::uint32_t lane = 0; lane < ingest_->writers; ++lane)
    check_writer(lane);
}

/// Each message in flight is waiting or sent, and no more is sent to a batch-writer than it has asked for.
void process::check_ingestor(std::uint32_t shard) const {
  const auto* const state = state_of<messages::ingestor_actor, actors::ingestor_state>(
    directory_.find(actors::ingestor_name(pipeline_name, shard)));
  if (state == nullptr)
    return;
  std::uint64_t held = 0;
  for (const auto& each : state->waiting)
    held += each.burst->messages.size() - each.next;
  for (const auto& [unused, frame] : state->sent)
    held += frame.messages;
  if (held != state->ledger.in_flight())
    world_.violate(fmt::format("{}: the ingestor of shard {} holds {} messages, and {} are in flight", instance_, shard,
                               held, state->ledger.in_flight()));
  for (std::uint32_t lane = 0; lane < state->lanes.size(); ++lane) {
    std::uint64_t sent = 0;
    for (const auto& [where, frame] : state->sent)
      if (where.lane == lane && !frame.unsent && frame.to == state->lanes[lane].writer.address())
        sent += frame.messages;
    const auto left = state->lanes[lane].demand.available();
    if (sent + left > world_.given().demand)
      world_.violate(fmt::format("{}: the ingestor of shard {} has sent {} messages to lane {}, and may send {} more",
                                 instance_, shard, sent, lane, left));
  }
}

/// It holds no more of an ingestor than it has asked it for.
void process::check_writer(std::uint32_t lane) const {
  const auto* const state = state_of<messages::batch_writer_actor, actors::batch_writer_state>(
    directory_.find(actors::writer_name(pipeline_name, lane)));
  if (state == nullptr)
    return;
  std::map<caf::actor_addr, std::uint64_t> held;
  for (const auto& each : state->queue)
    if (const auto all = held[each.from.address()] += each.messages; all > world_.given().demand)
      return world_.violate(fmt::format("{}: the batch-writer of lane {} holds {} messages of one ingestor, and has "
                                        "asked for {}",
                                        instance_, lane, all, world_.given().demand));
}

bool process::is_idle() const {
  for (std::uint32_t shard = 0; shard < ingest_boards_.size(); ++shard)
    if (runs({pipeline_name, shard}) && ingest_boards_[shard]->status({}, {}).account.in_flight > 0)
      return false;
  return true;
}

std::string process::to_text() const {
  std::string shards;
  for (const auto& each : publish_boards_) {
    const auto now = each->status({});
    shards += fmt::format("; shard {}: {} claimed, {} in flight, backlog {}, window {}, {}", now.shard,
                          now.account.claimed, now.account.in_flight, now.backlog, now.window,
                          now.connection.connected ? "connected" : now.connection.reason);
  }
  for (const auto& each : ingest_boards_)
    if (const auto now = each->status({}, {}); runs({pipeline_name, now.shard}))
      shards +=
        fmt::format("; shard {}: {} received, {} in flight, credit {}, {}", now.shard, now.account.received,
                    now.account.in_flight, now.credit, now.connection.connected ? "connected" : now.connection.reason);
  for (const auto& [shard, epoch] : leases_->ours())
    shards += "; owns " + cluster::to_text(shard);
  const auto& timers = scheduler().clock().schedule();
  return fmt::format("{}: {} jobs, {} timers, {} clients{}", instance_, scheduler().jobs.size(), timers.size(),
                     clients.size(), shards);
}

// --- the tree, as nodes/pipeline.cpp has it

/// One whose assertion fails has shown a bug, also where its supervisor makes up for it.
template <class State, class Behaviour, class Config>
child_spec process::child_of(Behaviour behaviour, Config config) {
  child_spec spec;
  spec.name = config.name;
  spec.kind = State::name;
  spec.start = [this, behaviour, config = std::move(config)](caf::actor_system& system) {
    auto child = caf::actor_cast<caf::actor>(system.spawn(behaviour, config));
    child->attach_functor([this, name = config.name](const caf::error& reason) {
      if (alive && reason == caf::sec::runtime_error)
        world_.violate(instance_ + ": " + name + " has failed: " + penstock::to_text(reason));
    });
    return child;
  };
  return spec;
}

child_spec process::poller_child() {
  actors::poller_config config;
  config.name = actors::poller_name(pipeline_name);
  config.pipeline = *publish_;
  config.open_source = [this] { return world_.the_databases().open_source(*this); };
  config.open_tracking = [this] { return world_.the_databases().open_tracking(*this); };
  config.board = board_.publish(pipeline_name);
  config.shards = publish_boards_;
  config.holds = [this](std::uint32_t shard, monotonic since) {
    return leases_->holds({pipeline_name, shard}, since, clock());
  };
  config.former_shard = [this](std::uint32_t shard) { return publisher_of(shard); };
  return child_of<actors::poller_state>(actors::poller, config);
}

child_spec process::publisher_child(std::uint32_t shard) {
  return child_of<actors::publisher_state>(actors::publisher, publisher_of(shard));
}

actors::publisher_config process::publisher_of(std::uint32_t shard) {
  actors::publisher_config config;
  config.name = actors::publisher_name(pipeline_name, shard);
  config.shard = shard;
  config.board = publish_boards_[shard];
  config.open_session = [this, shard](const std::string& installation, actors::publish_session_handlers handlers) {
    client_config options;
    options.shard = shard;
    options.session.client_id = client_id(installation, shard);
    options.session.publish_window_max = publish_->in_flight_max;
    options.session.publish_timeout = publish_->publish_timeout;
    options.session.keep_alive = 5s;
    options.session.release_by_caller = true;
    options.session.on_request = true;
    mqtt::client_handlers callbacks;
    callbacks.on_state = std::move(handlers.on_state);
    callbacks.on_published = std::move(handlers.on_published);
    callbacks.on_dial = std::move(handlers.on_dial);
    return std::make_unique<client>(world_, *this, std::move(options), std::move(callbacks));
  };
  return config;
}

child_spec process::writer_child(std::uint32_t lane) {
  actors::batch_writer_config config;
  config.name = actors::writer_name(pipeline_name, lane);
  config.lane = lane;
  config.table = storage::table_of(*ingest_);
  config.records_max = ingest_->batch.records_max;
  config.demand_max = world_.given().demand;
  config.open = [this] { return world_.ingest().open(*this); };
  config.board = board_.writer(pipeline_name, lane);
  return child_of<actors::batch_writer_state>(actors::batch_writer, config);
}

child_spec process::ingestor_child(std::uint32_t shard) {
  actors::ingestor_config config;
  config.name = actors::ingestor_name(pipeline_name, shard);
  config.pipeline = *ingest_;
  config.shard = shard;
  config.open_session = [this, shard](const actors::session_request& request, actors::session_handlers handlers) {
    client_config options;
    options.shard = shard;
    options.session.client_id = request.record.client_id;
    options.session.subscriptions = request.record.filters;
    options.session.unsubscriptions = request.stale;
    options.session.subscription_qos = ingest_->qos;
    options.session.receive_max = ingest_->in_flight.messages_max;
    options.session.shared = true;
    options.session.keep_alive = 5s;
    options.in_flight_messages_max = ingest_->in_flight.messages_max;
    options.may_dial = [this, id = storage::shard_id{pipeline_name, shard}](bool taken_over, monotonic since) {
      return taken_over ? leases_->holds(id, since, clock()) : leases_->owns(id);
    };
    mqtt::client_handlers callbacks;
    callbacks.on_burst = std::move(handlers.on_burst);
    callbacks.on_state = std::move(handlers.on_state);
    callbacks.on_settled = std::move(handlers.on_settled);
    return std::make_unique<client>(world_, *this, std::move(options), std::move(callbacks));
  };
  config.board = ingest_boards_[shard];
  config.pipeline_board = board_.pipeline(pipeline_name);
  return child_of<actors::ingestor_state>(actors::ingestor, config);
}

child_spec process::pipeline_child() {
  auto config = supervised(pipeline_name);
  const auto shards = world_.given().shards;
  config.on_start = publish_ ? actors::announce_poller(pipeline_name, shards)
                             : actors::announce_writers(pipeline_name, shards, ingest_->writers, directory_);
  child_spec spec;
  spec.name = config.name;
  spec.kind = "supervisor";
  spec.stop_timeout = 30s;
  spec.start = [this, config = std::move(config)](caf::actor_system& system) {
    std::vector<child_spec> children;
    if (publish_)
      children.push_back(poller_child());
    for (const auto& wanted : cluster::shards_of(configuration_))
      if (runs(wanted.id))
        for (auto& child : children_of(wanted.id))
          children.push_back(std::move(child));
    return caf::actor_cast<caf::actor>(system.spawn(actors::supervisor, config, std::move(children), &directory_));
  };
  return spec;
}

std::vector<child_spec> process::children_of(const storage::shard_id& shard) {
  if (publish_)
    return {publisher_child(shard.shard)};
  return {cluster::is_lane(shard) ? writer_child(shard.shard) : ingestor_child(shard.shard)};
}

void process::start_shard(const storage::shard_id& shard) {
  if (const auto supervisor = directory_.find(pipeline_name))
    actors::start_children(supervisor, children_of(shard));
}

void process::stop_shard(const storage::shard_id& shard, std::function<void()> on_done) {
  const auto supervisor = directory_.find(pipeline_name);
  if (!supervisor)
    return on_done();
  actors::stop_children(supervisor, children_of(shard), std::move(on_done));
}

child_spec process::agent_child() {
  actors::agent_config config;
  config.me = {"plant", node_, instance_};
  config.address = {node_, network::port};
  config.manager = network_;
  config.board = board_.links();
  config.directory = &directory_;
  config.on_wake = [this] {
    if (const auto membership = directory_.find("membership"))
      caf::anon_send(membership, messages::wake_atom_v);
  };
  config.timeout = network::silence_max;
  config.retry_max = world_.given().lease;
  return child_of<actors::agent_state>(actors::agent, config);
}

cluster::membership_config process::membership_configuration() {
  cluster::membership_config config;
  config.me.name = node_;
  config.me.instance = instance_;
  config.me.address = node_ + ":" + std::to_string(network::port);
  config.me.roles = roles_of(node_, world_.given());
  config.lease = world_.given().lease;
  config.open = [this] { return world_.the_databases().open_state(*this); };
  config.wanted = [this] { return cluster::shards_of(configuration_); };
  config.held = leases_;
  config.start = [this](const storage::shard_id& shard) {
    start_shard(shard);
    return true;
  };
  config.stop = [this](const storage::shard_id& shard, std::function<void()> on_done) {
    stop_shard(shard, std::move(on_done));
  };
  config.on_seen = [this](const storage::cluster_snapshot& seen) {
    if (const auto agent = directory_.find("agent"))
      caf::anon_send(agent, cluster::neighbours_of(seen, instance_, leases_->ours()));
  };
  config.on_released = [this] {
    if (const auto agent = directory_.find("agent"))
      caf::anon_send(agent, messages::detach_atom_v);
  };
  return config;
}

child_spec process::membership_child() {
  auto spec = child_of<cluster::membership_state>(cluster::membership, membership_configuration());
  spec.stop_timeout = 30s;
  return spec;
}

} // namespace penstock::sim
