#include "tests/sim/client.hpp"

#include "mqtt/reason.hpp"
#include "tests/sim/databases.hpp"
#include "tests/sim/process.hpp"

#include <algorithm>
#include <utility>

namespace penstock::sim {

using namespace std::chrono_literals;

namespace {

constexpr auto connect_timeout = 5s;
constexpr auto stop_timeout = 2s;
constexpr auto may_dial_every = 100ms;
constexpr auto stable_after = 2s;
constexpr std::size_t bite_bytes = 64; ///< of a new connection, where no more may be held

} // namespace

client::client(world& given, process& owner, client_config config, mqtt::client_handlers handlers)
  : world_(given), owner_(owner), config_(std::move(config)), handlers_(std::move(handlers)),
    conversation_(config_.session), pauses_(50ms, 2s, given.chance().next()) {
  owner_.clients.push_back(this);
}

client::~client() {
  handlers_ = {};
  on_stopped_ = {};
  drop();
  std::erase(owner_.clients, this);
}

monotonic client::now() const { return owner_.clock(); }

void client::start() { want_to_dial(); }

void client::want_to_dial() {
  now_in_ = phase::waiting;
  if (config_.may_dial && !config_.may_dial(taken_over_, down_since_)) {
    due_ = now() + may_dial_every;
    return;
  }
  if (!config_.session.on_request)
    return connect();
  now_in_ = phase::asked;
  asked_step_ = world_.steps();
  handlers_.on_dial();
}

void client::dial() {
  if (now_in_ == phase::asked)
    connect();
}

/// Who connects with a client id cuts off whoever else has it: so he is to know that the shard is his.
void client::check_dial() const {
  if (!owner_.alive)
    return;
  if (config_.session.on_request)
    return check_confirmed(asked_step_, "dials");
  if (taken_over_ && taken_by_.instance != owner_.name() &&
      world_.the_databases().owner_of(config_.shard).epoch == taken_by_.epoch)
    world_.violate(
      fmt::format("{} was cut off by the owner of shard {}, and cuts it off in turn", owner_.name(), config_.shard));
}

void client::check_confirmed(std::uint64_t since, const char* what) const {
  if (!world_.the_databases().is_confirmed(owner_.name(), config_.shard, since))
    world_.violate(fmt::format("{} {} for shard {}, and does not know whether it is still its own", owner_.name(), what,
                               config_.shard));
}

void client::connect() {
  check_dial();
  now_in_ = phase::connecting;
  due_ = now() + connect_timeout;
  if (world_.is_cut(owner_, service::broker) && world_.chance().chance(500))
    return fail({errc::connection_refused, "no route"});
  connection_ = world_.the_broker().dial(owner_);
  pending_.clear();
  conversation_.open(now());
  write();
}

bool client::is_full() const { return conversation_.unreleased() >= config_.in_flight_messages_max; }

bool client::reads() const {
  return now_in_ == phase::connecting || now_in_ == phase::stopping ||
         (now_in_ == phase::connected && !paused_ && !is_full());
}

bool client::is_ended() const {
  return (!connection_->broker_open || connection_->cut) && connection_->to_client.empty();
}

bool client::has_event() const {
  const auto time = now();
  if (now_in_ == phase::waiting)
    return time >= due_;
  if (!connection_)
    return false;
  if (is_ended())
    return true;
  if (reads() && !connection_->to_client.empty() && !world_.is_cut(owner_, service::broker))
    return true;
  if (now_in_ == phase::connecting || now_in_ == phase::stopping)
    return time >= due_;
  const auto deadline = conversation_.deadline(reads());
  return deadline && time >= *deadline;
}

void client::act() {
  if (now_in_ == phase::waiting)
    return want_to_dial();
  if (reads() && !connection_->to_client.empty() && !world_.is_cut(owner_, service::broker))
    return read();
  if (is_ended())
    return fail({errc::connection_lost, "closed"});
  if (now_in_ == phase::connecting || now_in_ == phase::stopping)
    return fail({errc::timed_out, "no answer"});
  if (auto alive = conversation_.tick(now(), reads()); !alive)
    return fail(alive.error());
  write();
}

void client::read() {
  auto& waiting = connection_->to_client;
  if (now_in_ == phase::stopping)
    return waiting.clear();
  auto most = world_.chance().chance(700) ? waiting.size() : 1 + world_.chance().below(waiting.size());
  if (is_full())
    most = std::min(most, bite_bytes);
  const auto bytes = std::make_shared<std::string>(pending_ + waiting.substr(0, most));
  waiting.erase(0, most);
  auto messages = std::make_shared<mqtt::burst>();
  const bool was_full = is_full();
  const auto taken = conversation_.feed(*bytes, now(), *messages);
  // With room for one more it reads once more, and that brings no more than Receive Maximum.
  if (!was_full && conversation_.unreleased() >= 2 * std::uint64_t{config_.in_flight_messages_max})
    world_.violate(
      fmt::format("{} holds {} messages of shard {}", owner_.name(), conversation_.unreleased(), config_.shard));
  pending_ = bytes->substr(taken ? *taken : bytes->size());
  if (now_in_ == phase::connecting && conversation_.established() &&
      (conversation_.session_present() || conversation_.subscribed())) {
    now_in_ = phase::connected;
    settled_told_ = false;
    connected_at_ = now();
    connected_step_ = world_.steps();
    report(true, std::nullopt);
    conversation_.session_loss_told();
  }
  if (!messages->messages.empty()) {
    messages->arrived = wall_now();
    messages->storage.push_back(bytes);
    if (handlers_.on_burst)
      handlers_.on_burst(std::move(messages));
  }
  if (!taken)
    return fail(taken.error());
  if (now_in_ == phase::connected && conversation_.settled() && !std::exchange(settled_told_, true) &&
      handlers_.on_settled)
    handlers_.on_settled(conversation_.unsubscribe_refusal());
  complete(conversation_.take_completions());
  write();
  note_reading();
}

/// While nothing is read, nothing is expected of the broker.
void client::note_reading() {
  const bool held_back = now_in_ == phase::connected && !reads();
  if (held_back_ && !held_back)
    conversation_.reading_resumed(now());
  held_back_ = held_back;
}

void client::write() {
  std::vector<std::uint64_t> tokens;
  std::string bytes;
  conversation_.take_output(now(), bytes, tokens);
  if (connection_ && owner_.alive && connection_->broker_open && !connection_->cut)
    connection_->to_broker += bytes;
}

void client::complete(std::vector<mqtt::completion> done) {
  if (!done.empty() && handlers_.on_published)
    handlers_.on_published(done);
}

void client::report(bool connected, std::optional<error> reason) {
  if (!handlers_.on_state)
    return;
  mqtt::connection_state state;
  state.connected = connected;
  state.session_present = connected && conversation_.session_present();
  state.session_lost = connected && conversation_.session_lost();
  state.protocol = 5;
  state.reason = std::move(reason);
  state.publish_window = connected ? conversation_.window() : 0;
  handlers_.on_state(state);
}

void client::drop() {
  if (connection_)
    connection_->client_open = false;
  connection_.reset();
  conversation_.close();
}

void client::fail(const error& reason) {
  if (now_in_ == phase::stopping) {
    drop();
    now_in_ = phase::closed;
    if (auto done = std::exchange(on_stopped_, {}))
      done();
    return;
  }
  if (now_in_ == phase::connected) {
    const bool was_stable = now() - connected_at_ >= stable_after;
    const auto broker_reason = conversation_.broker_reason();
    taken_over_ = broker_reason == mqtt::reason::session_taken_over || (broker_reason == 0 && !was_stable);
    taken_by_ = world_.the_databases().owner_of(config_.shard);
    down_since_ = now();
    if (was_stable)
      pauses_.reset();
  }
  now_in_ = phase::waiting;
  drop();
  complete(conversation_.take_completions());
  due_ = now() + pauses_.next();
  report(false, reason);
}

void client::proceed(std::vector<mqtt::resumption> handshakes) {
  if (owner_.alive && now_in_ == phase::connected)
    check_confirmed(connected_step_, "publishes");
  for (auto& one : handshakes)
    conversation_.resume(std::move(one.message), one.state);
  conversation_.proceed();
  complete(conversation_.take_completions());
  write();
}

void client::publish(std::vector<mqtt::outbound> messages) {
  for (auto& message : messages)
    conversation_.publish(std::move(message));
  complete(conversation_.take_completions());
  write();
}

void client::release_published(std::vector<std::uint16_t> packet_ids) {
  conversation_.release_published(packet_ids);
  write();
}

void client::release(sequence last) {
  conversation_.release(last);
  write();
  note_reading();
}

void client::pause(std::function<void()> done) {
  paused_ = true;
  note_reading();
  if (done)
    done();
}

void client::resume() {
  paused_ = false;
  note_reading();
}

void client::stop(std::function<void()> done) {
  on_stopped_ = std::move(done);
  if (connection_ && conversation_.established()) {
    now_in_ = phase::stopping;
    due_ = now() + stop_timeout;
    conversation_.finish();
    write();
    return;
  }
  now_in_ = phase::stopping;
  fail({});
}

} // namespace penstock::sim
