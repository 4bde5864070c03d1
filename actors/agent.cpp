#include "actors/agent.hpp"

#include "actors/handles.hpp"
#include "actors/pipeline_actors.hpp"
#include "core/assert.hpp"
#include "telemetry/log.hpp"

#include <caf/exit_reason.hpp>
#include <caf/io/middleman_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <algorithm>

namespace penstock::actors {

using namespace messages;

namespace {

constexpr const char* component = "agent";
/// The first link version whose nodes can be woken.
constexpr std::uint16_t wake_version = 2;

std::string reason_of(const caf::error& failure) {
  if (failure == caf::sec::request_timeout)
    return "no answer in time";
  if (failure == caf::sec::disconnect_during_handshake)
    return "the connection ended during the handshake, as where one side does not take the other's certificate";
  if (failure == caf::sec::cannot_open_port)
    return "another process has the port, or the address is not this machine's";
  if (failure == caf::sec::connection_timeout)
    return "it was silent for too long";
  if (failure == caf::sec::cannot_connect_to_node && !failure.context().empty())
    return failure.context().get_as<std::string>(0);
  if (failure == caf::sec::cannot_connect_to_node)
    return "the connection was refused, or is not one of TLS with a certificate of the same CA";
  if (failure == caf::exit_reason::remote_link_unreachable)
    return "the connection is lost";
  return to_text(failure);
}

std::string text_of(const neighbours::peer& peer) { return peer.host + ":" + std::to_string(peer.port); }

/// Answers once, from a thread of its own.
caf::actor make_prober(caf::actor_system& system, std::function<result<std::string>()> probe) {
  return system.spawn<caf::detached>([probe = std::move(probe)](caf::event_based_actor* prober) -> caf::behavior {
    set_quiet_handlers(prober);
    return {[prober, probe](dial_atom) -> caf::result<std::string> {
      prober->quit();
      auto found = probe();
      if (!found)
        return caf::make_error(caf::sec::cannot_connect_to_node, found.error().message);
      return *std::move(found);
    }};
  });
}

} // namespace

std::string agent_config::validate() const {
  if (me.cluster.empty() || me.node.empty() || me.instance.empty())
    return "an agent needs the names of its cluster, its node and its instance";
  if (!manager || !board || directory == nullptr)
    return "an agent needs a network, a board and a directory";
  if (retry_min.count() <= 0 || retry_max < retry_min || timeout.count() <= 0)
    return "an agent: 0 < retry_min <= retry_max, 0 < timeout";
  return {};
}

std::string refusal_of(const hello& me, const hello& peer) {
  if (peer.cluster != me.cluster)
    return "it is a node of another cluster: " + peer.cluster;
  if (peer.node == me.node)
    return "it has the name of this node";
  if (peer.version < me.version_oldest || me.version < peer.version_oldest)
    return "its link version is " + std::to_string(peer.version) + ", this node's is " + std::to_string(me.version) +
           ": they are too far apart";
  return {};
}

// --- listening ---

void agent_state::publish() {
  self
    ->request(config.manager, config.timeout, caf::publish_atom_v, config.address.port,
              caf::actor_cast<caf::strong_actor_ptr>(self), std::set<std::string>{}, config.address.host, true)
    .then(
      [this](std::uint16_t port) {
        publish_waits->reset();
        config.board->listens(port);
        log::info(component, config.name, "takes links at {}:{}", config.address.host, port);
      },
      [this](const caf::error& failure) { publish_later(failure); });
}

void agent_state::publish_later(const caf::error& failure) {
  log::warning(component, config.name, "cannot listen at {}:{} ({}); trying again", config.address.host,
               config.address.port, reason_of(failure));
  // A former agent of this process may still have the port: CAF keeps listening for an actor that has ended.
  self->send(config.manager, caf::close_atom_v, config.address.port);
  self->delayed_send(self, publish_waits->next(), retry_atom_v);
}

// --- dialling ---

void agent_state::on_neighbours(const neighbours& now) {
  for (const auto& each : now.peers) {
    auto& peer = peers[each.name];
    const bool restarted = peer.known && peer.known->instance != each.instance;
    const bool moved = peer.known && text_of(*peer.known) != text_of(each);
    peer.known = each;
    config.board->peer(each.name, text_of(each));
    if (restarted && peer.agent && peer.instance != each.instance)
      link_down(each.name, "another process has the node's name now");
    if (!peer.agent && (!peer.dialling || moved) && config.me.node < each.name)
      dial(each.name);
  }
  for (auto at = peers.begin(); at != peers.end();) {
    const auto current = at++;
    const auto& name = current->first;
    if (std::any_of(now.peers.begin(), now.peers.end(), [&](const auto& each) { return each.name == name; }))
      continue;
    current->second.known.reset();
    if (current->second.agent)
      continue; // the link outlives the lease: what goes over it may still be committed
    config.board->forget(name);
    peers.erase(current);
  }
  const auto before = std::exchange(own, now.own);
  look_around();
  for (const auto& [lane, epoch] : own)
    if (const auto known = before.find(lane); known == before.end() || known->second != epoch)
      tell_peers(lane);
  renew_links();
}

bool agent_state::is_current(const std::string& name, std::uint64_t attempt) const {
  const auto found = peers.find(name);
  return found != peers.end() && found->second.attempt == attempt && found->second.known && !found->second.agent;
}

void agent_state::dial(const std::string& name) {
  auto& peer = peers.at(name);
  if (!peer.waits)
    peer.waits = std::make_unique<backoff>(config.retry_min, config.retry_max, self->id() + peers.size());
  peer.dialling = true;
  const auto attempt = peer.attempt = ++attempts;
  const auto& [unused, instance, host, port] = *peer.known;
  if (!config.probe)
    return connect(name, attempt, host);
  const auto prober =
    make_prober(self->system(), [probe = config.probe, host = host, port = port] { return probe(host, port); });
  // The probe has a limit of its own; the resolver may take longer.
  self->request(prober, 2 * config.timeout, dial_atom_v)
    .then([this, name, attempt](const std::string& number) { connect(name, attempt, number); },
          [this, name, attempt](const caf::error& failure) { dial_later(name, attempt, reason_of(failure)); });
}

void agent_state::connect(const std::string& name, std::uint64_t attempt, const std::string& host) {
  if (!is_current(name, attempt))
    return;
  self->request(config.manager, config.timeout, caf::connect_atom_v, host, peers.at(name).known->port)
    .then([this, name, attempt](const caf::node_id&, const caf::strong_actor_ptr& remote,
                                const std::set<std::string>&) { greet(name, attempt, remote); },
          [this, name, attempt](const caf::error& failure) { dial_later(name, attempt, reason_of(failure)); });
}

void agent_state::greet(const std::string& name, std::uint64_t attempt, const caf::strong_actor_ptr& remote) {
  if (!is_current(name, attempt))
    return;
  if (!remote)
    return dial_later(name, attempt, "no agent lives there");
  const auto other = caf::actor_cast<agent_actor>(remote);
  self->request(other, config.timeout, config.me)
    .then(
      [this, name, attempt, other](const hello& theirs) {
        if (!is_current(name, attempt))
          return;
        auto refusal = refusal_of(config.me, theirs);
        if (refusal.empty() && theirs.node != name)
          refusal = "another node answers there: " + theirs.node;
        if (refusal.empty())
          link_up(theirs, other);
        else
          dial_later(name, attempt, refusal);
      },
      [this, name, attempt, remote](const caf::error& failure) {
        // CAF dials nobody whom it has reached before until it hears of his end, which may have been lost.
        if (failure == caf::sec::request_receiver_down)
          caf::anon_send(caf::actor_cast<caf::actor>(config.manager),
                         caf::down_msg{caf::actor_cast<caf::actor_addr>(remote), failure});
        dial_later(name, attempt, reason_of(failure));
      });
}

void agent_state::dial_later(const std::string& name, std::uint64_t attempt, const std::string& reason) {
  if (!is_current(name, attempt))
    return;
  auto& peer = peers.at(name);
  config.board->down(name, reason);
  if (std::exchange(peer.told, reason) != reason)
    log::warning(component, config.name, "no link to node {} at {}: {}; trying again", name, text_of(*peer.known),
                 reason);
  self->delayed_send(self, peer.waits->next(), retry_atom_v, name, attempt);
}

// --- links ---

/// The answer goes out before what is told over the link.
caf::typed_response_promise<hello> agent_state::on_hello(const hello& theirs) {
  const auto sender = caf::actor_cast<agent_actor>(self->current_sender()); // the promise takes it away
  auto answer = self->make_response_promise<hello>();
  answer.deliver(config.me);
  const auto refusal = refusal_of(config.me, theirs);
  if (refusal.empty() && sender)
    link_up(theirs, sender);
  else
    log::warning(component, config.name, "no link to node {}: {}", theirs.node, refusal);
  return answer;
}

void agent_state::link_up(const hello& theirs, const agent_actor& agent) {
  const auto& name = theirs.node;
  const auto same = [](const agent_actor& one, const agent_actor& other) {
    return caf::actor_cast<caf::strong_actor_ptr>(one) == caf::actor_cast<caf::strong_actor_ptr>(other);
  };
  if (peers[name].agent && !same(peers[name].agent, agent))
    link_down(name, "it has made another");
  auto& peer = peers[name];
  if (!peer.agent) {
    self->monitor(agent);
    config.board->up(name, theirs.version);
    log::info(component, config.name, "link to node {}{}", name,
              theirs.version == config.me.version ? "" : ", of link version " + std::to_string(theirs.version));
  }
  peer.agent = agent;
  peer.instance = theirs.instance;
  peer.version = theirs.version;
  peer.dialling = false;
  peer.told.clear();
  if (peer.waits)
    peer.waits->reset();
  for (const auto& [lane, unused] : local)
    tell_peer(agent, lane);
}

void agent_state::link_down(const std::string& name, const std::string& reason) {
  auto& peer = peers.at(name);
  log::warning(component, config.name, "the link to node {} is down: {}", name, reason);
  config.board->down(name, reason);
  self->demonitor(peer.agent.address());
  peer.agent = nullptr;
  for (auto& [unused, other] : remote)
    if (other.peer == name)
      other.writer = nullptr; // its ingestors hear of it by themselves
  if (!peer.known) {
    config.board->forget(name);
    peers.erase(name);
  } else if (config.me.node < name) {
    dial(name);
  }
}

/// Both ends tell of all their batch-writers again; and an agent that is there no more is missed.
void agent_state::renew_links() {
  const auto now = self->clock().now();
  if (now - renewed < config.renew_every)
    return;
  renewed = now;
  for (const auto& [name, peer] : peers) {
    if (!peer.agent || name < config.me.node)
      continue;
    const auto is_still_there = [this, name = name, agent = peer.agent] {
      const auto found = peers.find(name);
      return found != peers.end() && found->second.agent == agent;
    };
    self->request(peer.agent, config.timeout, config.me)
      .then(
        [this, is_still_there, agent = peer.agent](const hello& theirs) {
          if (is_still_there())
            link_up(theirs, agent);
        },
        [this, is_still_there, name = name](const caf::error& failure) {
          // Whether a silent one is lost is CAF's to say.
          if (failure != caf::sec::request_timeout && is_still_there())
            link_down(name, reason_of(failure));
        });
  }
}

void agent_state::on_lane_writer(const lane_writer& told) {
  const auto from = caf::actor_cast<caf::actor_addr>(self->current_sender());
  const auto peer = std::find_if(peers.begin(), peers.end(), [&](const auto& each) {
    return each.second.agent && each.second.agent.address() == from;
  });
  if (peer == peers.end() || !told.writer)
    return; // no link
  const lane_id lane{told.pipeline, told.lane};
  auto& known = remote[lane];
  if (told.epoch < known.epoch)
    return;
  known = {told.epoch, peer->first, told.writer};
  announce(lane);
}

/// A peer that knows of no wake takes the shard at its next renewal.
void agent_state::on_released() {
  for (const auto& [unused, peer] : peers)
    if (peer.agent && peer.version >= wake_version)
      self->send(peer.agent, wake_atom_v);
}

// --- this node ---

/// Supervisors tell of their children; but not an agent that was not there yet.
void agent_state::look_around() {
  for (const auto& name : config.directory->names())
    on_started(name, caf::actor_cast<caf::strong_actor_ptr>(config.directory->find(name)));
}

void agent_state::on_started(const std::string& child, const caf::strong_actor_ptr& handle) {
  if (!handle)
    return;
  if (const auto lane = lane_of_writer(child)) {
    const auto address = caf::actor_cast<caf::actor_addr>(handle);
    if (std::exchange(local[*lane], address) == address)
      return;
    self->monitor(handle);
    announce(*lane);
    tell_peers(*lane);
  } else if (const auto pipeline = pipeline_of_ingestor(child)) {
    if (!ingestors[*pipeline].insert(caf::actor_cast<caf::actor_addr>(handle)).second)
      return;
    self->monitor(handle);
    for (auto each = remote.lower_bound({*pipeline, 0}); each != remote.end() && each->first.first == *pipeline; ++each)
      if (const auto writer = writer_of(each->first))
        self->send(caf::actor_cast<ingestor_actor>(handle), writer_atom_v, each->first.second, writer,
                   version_of(each->first));
  }
}

void agent_state::on_down(const caf::down_msg& down) {
  for (const auto& [name, peer] : peers)
    if (is_of(down.source, peer.agent))
      return link_down(std::string{name}, reason_of(down.reason));
  for (auto& [unused, of_pipeline] : ingestors)
    of_pipeline.erase(down.source);
  const auto writer =
    std::find_if(local.begin(), local.end(), [&](const auto& each) { return each.second == down.source; });
  if (writer == local.end())
    return;
  const auto lane = writer->first;
  local.erase(writer);
  announce(lane);
}

/// The one of this node, or else the one that a peer has told of.
caf::strong_actor_ptr agent_state::writer_of(const lane_id& lane) const {
  if (const auto here = local.find(lane); here != local.end())
    return caf::actor_cast<caf::strong_actor_ptr>(here->second);
  const auto there = remote.find(lane);
  return there == remote.end() ? nullptr : there->second.writer;
}

/// The link version of the node where it lives.
std::uint16_t agent_state::version_of(const lane_id& lane) const {
  if (local.contains(lane))
    return link_version;
  const auto there = remote.find(lane);
  const auto peer = there == remote.end() ? peers.end() : peers.find(there->second.peer);
  return peer == peers.end() ? link_version_oldest : std::min(peer->second.version, link_version);
}

/// To the ingestors of this node.
void agent_state::announce(const lane_id& lane) {
  const auto writer = writer_of(lane);
  if (!writer)
    return;
  for (const auto& each : ingestors[lane.first])
    if (const auto ingestor = caf::actor_cast<ingestor_actor>(each))
      self->send(ingestor, writer_atom_v, lane.second, writer, version_of(lane));
}

void agent_state::tell_peers(const lane_id& lane) {
  for (const auto& [unused, peer] : peers)
    if (peer.agent)
      tell_peer(peer.agent, lane);
}

void agent_state::tell_peer(const agent_actor& agent, const lane_id& lane) {
  const auto epoch = own.find(lane);
  const auto here = local.find(lane);
  if (epoch == own.end() || here == local.end())
    return;
  if (auto writer = caf::actor_cast<caf::strong_actor_ptr>(here->second))
    self->send(agent, lane_writer{lane.first, lane.second, epoch->second, std::move(writer)});
}

agent_actor::behavior_type agent(agent_actor::stateful_pointer<agent_state> self, agent_config config) {
  set_quiet_handlers(self);
  const auto wrong = config.validate();
  assert_that(wrong.empty(), wrong.c_str());
  auto& state = self->state;
  state.self = self;
  state.config = std::move(config);
  state.publish_waits = std::make_unique<backoff>(state.config.retry_min, state.config.retry_max, self->id());
  self->set_down_handler([self](caf::down_msg& down) { self->state.on_down(down); });
  state.publish();
  return {
    [self](const neighbours_ptr& now) { self->state.on_neighbours(*now); },
    [self](started_atom, const std::string& child, const caf::strong_actor_ptr& handle) {
      self->state.on_started(child, handle);
    },
    [self](detach_atom) { self->state.on_released(); },
    [self](const hello& theirs) { return self->state.on_hello(theirs); },
    [self](const lane_writer& told) { self->state.on_lane_writer(told); },
    [self](wake_atom) {
      if (self->state.config.on_wake)
        self->state.config.on_wake();
    },
    [self](retry_atom) { self->state.publish(); },
    [self](retry_atom, const std::string& name, std::uint64_t attempt) {
      if (self->state.is_current(name, attempt))
        self->state.dial(name);
    },
  };
}

} // namespace penstock::actors
