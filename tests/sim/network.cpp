#include "tests/sim/network.hpp"

#include "core/assert.hpp"
#include "tests/sim/process.hpp"

#include <caf/io/basp/header.hpp>
#include <caf/io/basp/message_type.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/test_multiplexer.hpp>
#include <caf/io/receive_policy.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::sim {

using namespace std::chrono_literals;

namespace {

/// A process has one listening socket, again and again.
caf::io::accept_handle acceptor() { return caf::io::accept_handle::from_int(1); }

bool listens(process& who) {
  const auto doorman = who.multiplexer().impl_ptr(acceptor());
  return doorman && !doorman->detached();
}

/// CAF's own, which asks the world for its sockets.
class manager final : public caf::io::middleman_actor_impl {
public:
  manager(caf::actor_config& config, caf::actor broker, world& given, process& owner)
    : middleman_actor_impl(config, std::move(broker)), world_(given), owner_(owner) {}

protected:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, std::uint16_t port) override {
    if (!world_.the_network().dial(owner_, host))
      return caf::sec::cannot_connect_to_node;
    return middleman_actor_impl::connect(host, port);
  }
  caf::expected<caf::io::doorman_ptr> open(std::uint16_t port, const char* address, bool reuse) override {
    if (listens(owner_))
      return caf::sec::cannot_open_port;
    auto& sockets = owner_.multiplexer();
    sockets.provide_acceptor(port, acceptor());
    sockets.stopped_reading(acceptor()) = false;
    return middleman_actor_impl::open(port, address, reuse);
  }

private:
  world& world_;
  process& owner_;
};

} // namespace

caf::io::middleman_actor network::make_manager(world& given, process& owner) {
  auto& system = owner.system();
  auto broker = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  return system.spawn<manager, caf::hidden>(std::move(broker), given, owner);
}

bool network::is_blocked(const process& from, const process& to) const {
  const auto found = blocked_.find({from.node(), to.node()});
  return found != blocked_.end() && world_.now() < found->second;
}

bool network::dial(process& from, const std::string& node) {
  auto* const to = world_.process_of(node);
  if (to == nullptr || to == &from || !from.alive || is_blocked(from, *to) || is_blocked(*to, from) || !listens(*to))
    return false;
  const auto at_server = caf::io::connection_handle::from_int(++last_handle_);
  const auto at_client = caf::io::connection_handle::from_int(++last_handle_);
  to->multiplexer().prepare_connection(acceptor(), at_server, from.multiplexer(), node, port, at_client);
  links_.push_back({{&from, at_client, true}, {to, at_server, false}, world_.now(), false, {}});
  world_.trace("{} dials {}", from.name(), to->name());
  return true;
}

// --- what is on its way

bool network::can_read(const end& which, const end& other) const {
  auto& sockets = which.owner->multiplexer();
  if (!which.accepted)
    return listens(*which.owner);
  if (!which.attached || other.owner == nullptr || is_blocked(*other.owner, *which.owner) ||
      sockets.passive_mode(which.handle))
    return false;
  const auto& [policy, bytes] = sockets.read_config(which.handle);
  const auto waiting = sockets.virtual_network_buffer(which.handle).size();
  return waiting >= (policy == caf::io::receive_policy_flag::at_most ? 1 : bytes);
}

bool network::has_event(const link& of, const end& which) const {
  if (which.owner == nullptr || !which.open || !which.owner->alive || which.owner->is_paused())
    return false;
  if (of.broken)
    return (which.attached || !which.accepted) && world_.now() >= of.notices;
  return can_read(which, &which == &of.client ? of.server : of.client);
}

bool network::has_event() const {
  return std::any_of(links_.begin(), links_.end(),
                     [this](const link& each) { return has_event(each, each.client) || has_event(each, each.server); });
}

void network::act() {
  std::vector<std::pair<link*, end*>> ready;
  for (auto& each : links_)
    for (auto* const one : {&each.client, &each.server})
      if (has_event(each, *one))
        ready.emplace_back(&each, one);
  if (ready.empty())
    return;
  const auto [link, end] = ready[world_.chance().below(ready.size())];
  act(*link, *end);
}

/// A socket gives the connections in the order in which they came.
network::end& network::accepted_next(caf::io::network::test_multiplexer& sockets) {
  const auto first = sockets.pending_connects().find(acceptor())->second;
  const auto of = std::find_if(links_.begin(), links_.end(), [&](const link& each) {
    return each.server.owner != nullptr && &each.server.owner->multiplexer() == &sockets && each.server.handle == first;
  });
  assert_that(of != links_.end(), "whoever waits to be accepted is known");
  return of->server;
}

void network::act(link& of, end& which) {
  auto& owner = *which.owner;
  auto& sockets = owner.multiplexer();
  if (of.broken) {
    world_.trace("{} notices that a link is broken", owner.name());
    fail(which);
  } else if (!which.accepted) {
    accepted_next(sockets).accepted = true;
    sockets.accept_connection(acceptor());
  } else if (!loses(which)) {
    sockets.try_read_data(which.handle);
  }
  owner.flush_network();
}

/// Whole messages, behind the handshake: all that has come.
bool network::loses(const end& which) {
  auto& sockets = which.owner->multiplexer();
  auto& come = sockets.virtual_network_buffer(which.handle);
  const auto next = [&] { return static_cast<caf::io::basp::message_type>(come.front()); };
  if (!losing_ || sockets.read_config(which.handle).second != caf::io::basp::header_size ||
      next() == caf::io::basp::message_type::server_handshake ||
      next() == caf::io::basp::message_type::client_handshake)
    return false;
  world_.trace("what has come to {} is lost", which.owner->name());
  losing_ = false;
  come.clear();
  return true;
}

/// Nobody takes it any more, or reads what has come over it.
void network::close(end& which) {
  which.open = false;
  auto& sockets = which.owner->multiplexer();
  auto& pending = sockets.pending_connects();
  for (auto each = pending.begin(); each != pending.end();)
    each = each->second == which.handle ? pending.erase(each) : std::next(each);
  sockets.virtual_network_buffer(which.handle).clear();
}

void network::fail(end& which) {
  close(which);
  auto& sockets = which.owner->multiplexer();
  if (const auto scribe = sockets.impl_ptr(which.handle))
    scribe->io_failure(&sockets, caf::io::network::operation::read);
}

// --- faults

void network::break_now(link& which, std::chrono::milliseconds notices_max) {
  if (which.broken)
    return;
  which.broken = true;
  which.notices = world_.now() + world_.chance().between(0ms, notices_max);
}

/// An end that CAF has closed, or that is not taken, closes the other; what both have noticed is forgotten.
void network::tidy_up() {
  for (auto& each : links_) {
    for (auto* const one : {&each.client, &each.server}) {
      if (one->owner == nullptr || !one->open || !one->accepted)
        continue;
      const auto scribe = one->owner->multiplexer().impl_ptr(one->handle);
      const bool attached = scribe && !scribe->detached();
      if (std::exchange(one->attached, one->attached || attached) && !attached) {
        one->open = false;
        break_now(each, 100ms);
      }
    }
    if (!each.server.accepted && world_.now() - each.made > silence_max)
      break_now(each, 0ms);
  }
  std::erase_if(links_, [](const link& each) { return !each.client.open && !each.server.open; });
}

void network::block(const std::string& from, const std::string& to, milliseconds duration) {
  blocked_[{from, to}] = world_.now() + duration;
  world_.after(silence_max, [this, from, to] {
    for (auto& each : links_)
      if (each.client.owner != nullptr && each.server.owner != nullptr)
        for (const auto& [one, other] :
             {std::pair{each.client.owner, each.server.owner}, std::pair{each.server.owner, each.client.owner}})
          if (one->node() == from && other->node() == to && is_blocked(*one, *other))
            break_now(each, 1s);
  });
}

void network::cut_one() {
  if (!links_.empty())
    break_now(links_[world_.chance().below(links_.size())], 1s);
}

void network::leave(const process& who) {
  for (auto& each : links_)
    for (auto* const one : {&each.client, &each.server})
      if (one->owner == &who) {
        close(*one);
        one->owner = nullptr;
        break_now(each, silence_max);
      }
}

void network::give_up(const process& who) {
  for (auto& each : links_)
    if (each.client.owner == &who || each.server.owner == &who)
      break_now(each, 1s);
}

} // namespace penstock::sim
