#include "mqtt/client.hpp"

#include "core/assert.hpp"
#include "core/backoff.hpp"
#include "core/read_pace.hpp"
#include "mqtt/reason.hpp"
#include "mqtt/session.hpp"
#include "mqtt/transport.hpp"
#include "telemetry/log.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

namespace penstock::mqtt {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t chunk_bytes = std::size_t{256} * 1024;
constexpr std::size_t bite_bytes = 1024;
/// With less room than this at its end a chunk is given up: small reads cost more than small remainders.
constexpr std::size_t room_min = std::size_t{32} * 1024;

// Under load the next read waits (core/read_pace.hpp), so that one read, one burst and one write of acknowledgements
// carry many messages. Brokers give clients of MQTT 3.1.1 a small window, mosquitto 20 messages: a long pause would be
// all they wait for.
constexpr auto pause_max = 10ms;
constexpr auto pause_max_small_window = 500us;
/// A read of this size shows that more is there already: waiting would only delay it. TLS hands out at most 16 KiB.
constexpr std::size_t full_read_bytes = std::size_t{64} * 1024;
constexpr std::size_t full_read_bytes_tls = std::size_t{12} * 1024;

/// A connection that lasted this long was a success, and the next failure begins a new series of attempts.
constexpr auto stable_after = 2s;
constexpr auto stop_timeout = 2s;
constexpr auto may_dial_every = 100ms;
constexpr monotonic never = monotonic::max();

} // namespace

struct io_thread::impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread{[this] { run(); }};

  void run() {
    for (;;) {
      try {
        context.run();
        return;
      } catch (const std::exception& bug) {
        log::error("mqtt", "", "bug on the io thread: {}", bug.what());
      }
    }
  }
};

io_thread::io_thread() : impl_(std::make_unique<impl>()) {}

io_thread::~io_thread() {
  impl_->context.stop();
  impl_->thread.join();
}

// --- the client, on the io thread unless said otherwise
// ---------------------------------------------------------------

struct client::impl : std::enable_shared_from_this<client::impl> {
  enum class phase : std::uint8_t {
    idle,       ///< not started
    waiting,    ///< for the next attempt
    connecting, ///< up to the CONNACK (and SUBACK)
    connected,
    stopping, ///< DISCONNECT is being written
    closed,
  };

  impl(asio::io_context& io, client_options given, client_handlers callbacks)
    : context(io), options(std::move(given)), handlers(std::move(callbacks)), conversation(session_options_of(options)),
      pauses(options.broker.reconnect_min, options.broker.reconnect_max, std::hash<std::string>{}(options.client_id)),
      retry_timer(io), handshake_timer(io), keep_alive_timer(io), coalesce_timer(io), stop_timer(io) {}

  static session_options session_options_of(const client_options& options);

  void start();
  void want_to_dial();
  void dial_wanted();
  void dial();
  void on_dialled(const result<void>& outcome);
  void fail(const error& reason);
  void retry_after(std::chrono::milliseconds pause);
  void drop_connection();
  void report_connected();
  void report_disconnected(const error& reason, std::uint8_t broker_reason);

  bool may_read() const;
  bool full() const;
  void read_more();
  void make_room();
  void take_in(std::size_t bytes);
  void on_read(const result<std::size_t>& outcome);
  void deliver(std::shared_ptr<burst> messages);
  void schedule_read(std::size_t bytes, std::size_t messages);
  void write_more();
  void drain();
  void on_written(const result<void>& outcome);
  void announce();
  void tell_progress();
  void complete(std::span<const completion> done);
  void complete_written(std::uint8_t reason, std::vector<completion> further);
  void arm_keep_alive();
  void bring_keep_alive_forward();

  void take_releases();
  void proceed(std::vector<resumption> handshakes);
  void take_requests();
  void begin_stop(std::function<void()> done, bool forget);
  void finish_stop();
  void shut();

  /// Runs `step` unless the client is closed; a bug in it ends the connection, not the process.
  template <class Step>
  void guarded(Step&& step);
  /// A handler for an operation of the present connection: does nothing once that is gone.
  template <class Step>
  auto for_this_connection(Step step);

  asio::io_context& context;
  const client_options options;
  const client_handlers handlers;
  session conversation;
  backoff pauses;
  bool taken_over = false; ///< the last connection, as far as one can tell
  monotonic down_since;
  phase now_in = phase::idle;
  std::shared_ptr<transport> connection;
  std::uint64_t connections = 0; ///< dialled so far
  std::chrono::steady_clock::time_point connected_at;
  connection_state reported;

  asio::steady_timer retry_timer;
  asio::steady_timer handshake_timer;
  asio::steady_timer keep_alive_timer;
  monotonic keep_alive_due = never; ///< when the timer is set to
  asio::steady_timer coalesce_timer;
  asio::steady_timer stop_timer;

  bool asked = false;        ///< the caller, whether it may dial
  bool settled_told = false; ///< of this connection, as the next
  bool drained_told = false;
  bool paused = false;
  std::size_t set_aside = 0; ///< bytes that came while paused, at the end of the chunk
  bool reading = false;      ///< a read is under way
  bool coalescing = false;   ///< the next read waits for the timer
  read_pace pace{pause_max};
  bool held_back = false; ///< the next read waits for a release or resume
  std::shared_ptr<char[]> chunk;
  std::size_t chunk_size = 0;
  std::size_t chunk_used = 0;   ///< where the next read goes
  std::size_t chunk_parsed = 0; ///< where the first packet that is not yet whole begins

  bool writing = false;
  std::shared_ptr<std::string> write_buffer = std::make_shared<std::string>();
  std::vector<std::uint64_t> write_tokens;
  std::function<void()> on_stopped;

  // From any thread:
  std::atomic<sequence> release_wanted{0};
  std::atomic<bool> release_posted{false};
  struct requests {
    std::vector<std::uint16_t> released;
    std::vector<outbound> messages;
    bool empty() const { return released.empty() && messages.empty(); }
  };
  std::mutex inbox_mutex;
  requests inbox; ///< what came while the first of it was on its way, so that it is one write
  /// `kind`: which of the lists these go to the end of.
  template <class T>
  void put_in(std::vector<T> requests::*kind, std::vector<T> what);
};

session_options client::impl::session_options_of(const client_options& options) {
  session_options out;
  out.client_id = options.client_id;
  out.clean_start = options.clean_start;
  out.user = options.broker.user;
  out.password = options.broker.password.value;
  out.version = options.broker.version == config::mqtt_version::v5 ? version::v5 : version::v3_1_1;
  out.keep_alive = std::chrono::ceil<std::chrono::seconds>(options.broker.keep_alive);
  out.will = options.will;
  out.subscriptions = options.subscriptions;
  out.subscription_qos = options.subscription_qos;
  out.unsubscriptions = options.unsubscriptions;
  out.drained_after = options.drained_after;
  out.receive_max = options.in_flight_messages_max;
  out.publish_window_max = options.publish_window_max;
  out.publish_window_max_3_1_1 = options.publish_window_max_3_1_1;
  out.packet_bytes_max = options.packet_bytes_max;
  out.shared = static_cast<bool>(options.may_dial);
  out.was_there = options.was_there;
  out.on_request = options.on_request;
  out.release_by_caller = options.release_by_caller;
  out.publish_timeout = options.publish_timeout;
  return out;
}

template <class Step>
void client::impl::guarded(Step&& step) {
  if (now_in == phase::closed)
    return;
  try {
    step();
  } catch (const std::exception& bug) {
    fail({errc::internal, bug.what()});
  }
}

template <class Step>
auto client::impl::for_this_connection(Step step) {
  return [self = shared_from_this(), expected = connections, step = std::move(step)](const auto& outcome) {
    if (self->connection && self->connections == expected)
      self->guarded([&] { step(*self, outcome); });
  };
}

// --- connecting
// -------------------------------------------------------------------------------------------------------

void client::impl::start() {
  if (now_in == phase::idle)
    want_to_dial();
}

void client::impl::want_to_dial() {
  if (!options.on_request && options.may_dial && !options.may_dial(taken_over, down_since)) {
    now_in = phase::waiting;
    return retry_after(may_dial_every);
  }
  if (!options.on_request)
    return dial();
  now_in = phase::waiting;
  asked = true;
  handlers.on_dial();
}

/// The caller allows it.
void client::impl::dial_wanted() {
  if (now_in == phase::waiting && std::exchange(asked, false))
    dial();
}

void client::impl::dial() {
  now_in = phase::connecting;
  ++connections;
  connection = std::make_shared<transport>(context, options.broker);
  handshake_timer.expires_after(options.broker.connect_timeout);
  handshake_timer.async_wait(for_this_connection([](impl& self, const boost::system::error_code& cancelled) {
    if (!cancelled && self.now_in == phase::connecting)
      self.fail({errc::timed_out, "the broker has not accepted the connection within " +
                                    std::to_string(self.options.broker.connect_timeout.count()) + " ms"});
  }));
  connection->connect(for_this_connection([](impl& self, const result<void>& outcome) { self.on_dialled(outcome); }));
}

void client::impl::on_dialled(const result<void>& outcome) {
  if (!outcome)
    return fail(outcome.error());
  conversation.open(steady_clock::now());
  write_more();
  read_more();
}

void client::impl::drop_connection() {
  if (connection)
    connection->close();
  connection.reset();
  handshake_timer.cancel();
  keep_alive_timer.cancel();
  keep_alive_due = never;
  coalesce_timer.cancel();
  conversation.close();
  // An operation under way keeps its buffers until it is over.
  chunk.reset();
  write_buffer = std::make_shared<std::string>();
  chunk_size = chunk_used = chunk_parsed = 0;
  reading = coalescing = held_back = writing = false;
  settled_told = drained_told = false;
  set_aside = 0;
  complete_written(0x80, conversation.take_completions());
}

void client::impl::fail(const error& reason) {
  if (now_in == phase::stopping)
    return finish_stop();
  const bool was_connected = now_in == phase::connected;
  const bool fall_back = conversation.fell_back();
  const std::uint8_t broker_reason = conversation.broker_reason();
  const auto time = steady_clock::now();
  const bool was_stable = was_connected && time - connected_at >= stable_after;
  if (was_connected) {
    // mosquitto 2.0.11 says nothing when it cuts off a client whose session another has taken over.
    taken_over = broker_reason == mqtt::reason::session_taken_over || (broker_reason == 0 && !was_stable);
    down_since = time;
  }
  now_in = phase::waiting;
  drop_connection();
  if (was_stable)
    pauses.reset();
  if (fall_back)
    return retry_after(0ms);
  report_disconnected(reason, broker_reason);
  // A refusal that only a person can mend is asked for seldom. A broken packet may be a passing fault.
  const bool seldom = disposition_of(reason.code) == disposition::fatal && reason.code != errc::protocol_violation;
  retry_after(seldom ? options.broker.reconnect_max : pauses.next());
}

void client::impl::retry_after(std::chrono::milliseconds pause) {
  if (now_in != phase::waiting)
    return; // a handler has stopped the client
  retry_timer.expires_after(pause);
  retry_timer.async_wait([self = shared_from_this()](const boost::system::error_code& cancelled) {
    if (!cancelled && self->now_in == phase::waiting)
      self->guarded([&] { self->want_to_dial(); });
  });
}

void client::impl::report_connected() {
  now_in = phase::connected;
  connected_at = steady_clock::now();
  handshake_timer.cancel();
  const std::uint64_t connects = reported.connects + 1;
  reported = {true,
              conversation.session_present(),
              conversation.session_lost(),
              static_cast<std::uint8_t>(conversation.protocol()),
              connects,
              std::nullopt,
              0,
              conversation.window()};
  conversation.session_loss_told();
  if (handlers.on_state)
    handlers.on_state(reported);
}

void client::impl::report_disconnected(const error& reason, std::uint8_t broker_reason) {
  if (!reported.connected && reported.reason == reason)
    return;
  reported.connected = false;
  reported.reason = reason;
  reported.broker_reason = broker_reason;
  reported.publish_window = 0;
  if (handlers.on_state)
    handlers.on_state(reported);
}

// --- reading
// ----------------------------------------------------------------------------------------------------------

/// Until the connection stands nothing is held back, or it could not come about.
bool client::impl::may_read() const { return now_in != phase::connected || (!paused && !full()); }

bool client::impl::full() const {
  return conversation.unreleased() >= options.in_flight_messages_max ||
         conversation.unreleased_bytes() >= options.in_flight_bytes_max;
}

void client::impl::read_more() {
  if (!connection || reading || coalescing || now_in == phase::waiting || now_in == phase::stopping)
    return;
  if (!may_read()) {
    held_back = true;
    return;
  }
  if (std::exchange(held_back, false)) {
    conversation.reading_resumed(steady_clock::now());
    bring_keep_alive_forward();
  }
  make_room();
  // Where no more may be held, a new connection is made in small bites: messages follow close on the CONNACK.
  const std::size_t room = full() ? std::min(chunk_size - chunk_used, bite_bytes) : chunk_size - chunk_used;
  reading = true;
  connection->read(
    chunk.get() + chunk_used, room,
    for_this_connection([kept = chunk](impl& self, const result<std::size_t>& outcome) { self.on_read(outcome); }));
}

/// Bursts keep their chunk alive, so that a full one is left to them. Only the packet cut off at its end is copied.
void client::impl::make_room() {
  const std::size_t cut_off = chunk_used - chunk_parsed;
  const std::size_t wanted = std::max(conversation.packet_wanted(), cut_off);
  if (chunk_size - chunk_used >= room_min && chunk_size - chunk_parsed >= wanted)
    return;
  const std::size_t size = std::max(chunk_bytes, wanted + room_min);
  auto next = std::make_shared_for_overwrite<char[]>(size);
  if (cut_off > 0)
    std::memcpy(next.get(), chunk.get() + chunk_parsed, cut_off);
  chunk = std::move(next);
  chunk_size = size;
  chunk_used = cut_off;
  chunk_parsed = 0;
}

void client::impl::on_read(const result<std::size_t>& outcome) {
  reading = false;
  if (!outcome)
    return fail(outcome.error());
  if (now_in == phase::stopping)
    return drain();
  chunk_used += *outcome;
  if (paused && now_in == phase::connected) { // the read was under way when the pause came
    set_aside += *outcome;
    held_back = true;
    return;
  }
  take_in(*outcome);
}

/// `bytes` have come to the chunk.
void client::impl::take_in(std::size_t bytes) {
  auto messages = std::make_shared<burst>();
  messages->messages.reserve(bytes / 128);
  const auto taken =
    conversation.feed({chunk.get() + chunk_parsed, chunk_used - chunk_parsed}, steady_clock::now(), *messages);
  const std::size_t count = messages->messages.size();
  if (taken)
    chunk_parsed += *taken;
  announce();
  // What came before a fault is delivered and counted all the same.
  if (count > 0)
    deliver(std::move(messages));
  if (!taken) {
    if (connection)
      fail(taken.error());
    return;
  }
  complete(conversation.take_completions());
  write_more();
  tell_progress();
  schedule_read(bytes, count);
}

void client::impl::deliver(std::shared_ptr<burst> messages) {
  messages->arrived = wall_now();
  messages->storage.push_back(chunk);
  if (handlers.on_burst)
    handlers.on_burst(std::move(messages));
}

void client::impl::schedule_read(std::size_t bytes, std::size_t messages) {
  const std::size_t full = options.broker.use_tls ? full_read_bytes_tls : full_read_bytes;
  auto wait = pace.after_read(messages, steady_clock::now());
  if (conversation.protocol() == version::v3_1_1)
    wait = std::min<std::chrono::microseconds>(wait, pause_max_small_window);
  if (wait.count() == 0 || bytes >= full || !connection)
    return read_more();
  coalescing = true;
  coalesce_timer.expires_after(wait);
  coalesce_timer.async_wait(for_this_connection([](impl& self, const boost::system::error_code& cancelled) {
    if (cancelled)
      return;
    self.coalescing = false;
    self.read_more();
  }));
}

/// Before its messages are handed out, also when the same read shows a fault.
void client::impl::announce() {
  if (now_in == phase::connecting && conversation.established() &&
      (conversation.session_present() || conversation.subscribed())) {
    report_connected();
    arm_keep_alive();
  }
}

/// After the messages that came before.
void client::impl::tell_progress() {
  if (now_in != phase::connected)
    return;
  if (conversation.settled() && !std::exchange(settled_told, true) && handlers.on_settled)
    handlers.on_settled(conversation.unsubscribe_refusal());
  if (conversation.drained() && !std::exchange(drained_told, true) && handlers.on_drained)
    handlers.on_drained();
  bring_keep_alive_forward();
}

void client::impl::complete(std::span<const completion> done) {
  if (handlers.on_published && !done.empty() && now_in != phase::closed)
    handlers.on_published(done);
}

/// The QoS 0 messages of the write that is over, and what else is there to tell.
void client::impl::complete_written(std::uint8_t reason, std::vector<completion> further) {
  std::vector<completion> all;
  all.reserve(write_tokens.size() + further.size());
  for (const auto token : std::exchange(write_tokens, {}))
    all.push_back({token, reason});
  all.insert(all.end(), further.begin(), further.end());
  complete(all);
}

// --- writing
// ----------------------------------------------------------------------------------------------------------

void client::impl::write_more() {
  if (!connection || writing || !conversation.has_output())
    return;
  conversation.take_output(steady_clock::now(), *write_buffer, write_tokens);
  writing = true;
  connection->write(*write_buffer, for_this_connection([kept = write_buffer](impl& self, const result<void>& outcome) {
    self.on_written(outcome);
  }));
  bring_keep_alive_forward();
}

void client::impl::on_written(const result<void>& outcome) {
  if (!outcome)
    return fail(outcome.error());
  writing = false;
  complete_written(0, {});
  write_more();
  if (now_in == phase::stopping && !writing)
    drain();
}

/// A socket closed with bytes unread resets the connection, and the broker may lose what was written: so everything is
/// read until the broker, which has the DISCONNECT, closes.
void client::impl::drain() {
  if (reading || writing || !connection)
    return;
  make_room();
  reading = true;
  connection->read(
    chunk.get() + chunk_used, chunk_size - chunk_used,
    for_this_connection([kept = chunk](impl& self, const result<std::size_t>& outcome) { self.on_read(outcome); }));
}

void client::impl::arm_keep_alive() {
  const auto due = conversation.deadline(!held_back);
  if (!due || now_in != phase::connected)
    return;
  keep_alive_due = *due;
  keep_alive_timer.expires_at(*due);
  keep_alive_timer.async_wait(for_this_connection([](impl& self, const boost::system::error_code& cancelled) {
    if (cancelled)
      return;
    self.keep_alive_due = never;
    if (auto alive = self.conversation.tick(steady_clock::now(), !self.held_back); !alive)
      return self.fail(alive.error());
    self.write_more();
    self.arm_keep_alive();
  }));
}

/// A PUBLISH is to be answered, and silence to be noticed, sooner than the connection needs a sign of life.
void client::impl::bring_keep_alive_forward() {
  if (options.publish_timeout.count() == 0 && options.drained_after.count() == 0)
    return;
  if (const auto due = conversation.deadline(!held_back); due && *due < keep_alive_due)
    arm_keep_alive();
}

// --- what other threads asked for
// -------------------------------------------------------------------------------------

void client::impl::take_releases() {
  release_posted.store(false);
  conversation.release(release_wanted.load());
  write_more();
  if (held_back)
    read_more();
}

void client::impl::proceed(std::vector<resumption> handshakes) {
  for (auto& one : handshakes)
    conversation.resume(std::move(one.message), one.state);
  conversation.proceed();
  complete(conversation.take_completions());
  write_more();
}

void client::impl::take_requests() {
  requests taken;
  {
    const std::lock_guard lock{inbox_mutex};
    std::swap(taken, inbox);
  }
  conversation.release_published(taken.released);
  for (auto& message : taken.messages)
    conversation.publish(std::move(message));
  complete(conversation.take_completions());
  write_more();
}

void client::impl::begin_stop(std::function<void()> done, bool forget) {
  on_stopped = std::move(done);
  take_releases();
  retry_timer.cancel();
  if (now_in == phase::stopping)
    return;
  if (!connection || !conversation.established())
    return finish_stop();
  now_in = phase::stopping;
  conversation.finish(forget);
  stop_timer.expires_after(stop_timeout);
  stop_timer.async_wait([self = shared_from_this()](const boost::system::error_code& cancelled) {
    if (!cancelled && self->now_in == phase::stopping)
      self->finish_stop();
  });
  write_more();
}

void client::impl::finish_stop() {
  stop_timer.cancel();
  drop_connection();
  now_in = phase::closed;
  if (auto done = std::exchange(on_stopped, {}))
    done();
}

/// No handler runs afterwards.
void client::impl::shut() {
  now_in = phase::closed;
  on_stopped = {};
  retry_timer.cancel();
  stop_timer.cancel();
  drop_connection();
}

// --- the interface, on any thread
// -------------------------------------------------------------------------------------

client::client(io_thread& io, client_options options, client_handlers handlers)
  : impl_(std::make_shared<impl>(io.get().context, std::move(options), std::move(handlers))) {}

client::~client() {
  auto& context = impl_->context;
  if (context.get_executor().running_in_this_thread()) {
    impl_->shut();
    return;
  }
  std::promise<void> shut;
  asio::post(context, [this, &shut] {
    impl_->shut();
    shut.set_value();
  });
  shut.get_future().wait();
}

void client::start() {
  asio::post(impl_->context, [self = impl_] { self->guarded([&] { self->start(); }); });
}

void client::release(sequence last) {
  sequence seen = impl_->release_wanted.load();
  while (seen < last && !impl_->release_wanted.compare_exchange_weak(seen, last)) {
  }
  // Releases that come while one is on its way travel with it.
  if (!impl_->release_posted.exchange(true))
    asio::post(impl_->context, [self = impl_] { self->guarded([&] { self->take_releases(); }); });
}

template <class T>
void client::impl::put_in(std::vector<T> requests::*kind, std::vector<T> what) {
  if (what.empty())
    return;
  bool first = false;
  {
    const std::lock_guard lock{inbox_mutex};
    first = inbox.empty();
    auto& list = inbox.*kind;
    list.insert(list.end(), std::make_move_iterator(what.begin()), std::make_move_iterator(what.end()));
  }
  if (first)
    asio::post(context, [self = shared_from_this()] { self->guarded([&] { self->take_requests(); }); });
}

void client::publish(std::vector<outbound> messages) { impl_->put_in(&impl::requests::messages, std::move(messages)); }

void client::release_published(std::vector<std::uint16_t> packet_ids) {
  impl_->put_in(&impl::requests::released, std::move(packet_ids));
}

void client::dial() {
  asio::post(impl_->context, [self = impl_] { self->guarded([&] { self->dial_wanted(); }); });
}

void client::proceed(std::vector<resumption> handshakes) {
  asio::post(impl_->context, [self = impl_, handshakes = std::move(handshakes)]() mutable {
    self->guarded([&] { self->proceed(std::move(handshakes)); });
  });
}

void client::pause(std::function<void()> done) {
  asio::post(impl_->context, [self = impl_, done = std::move(done)] {
    self->paused = true;
    if (done)
      done();
  });
}

void client::resume() {
  asio::post(impl_->context, [self = impl_] {
    self->guarded([&] {
      self->paused = false;
      if (const auto bytes = std::exchange(self->set_aside, 0); bytes > 0)
        self->take_in(bytes);
      else if (self->held_back)
        self->read_more();
    });
  });
}

void client::stop(std::function<void()> done, bool forget) {
  asio::post(impl_->context, [self = impl_, done = std::move(done), forget]() mutable {
    self->guarded([&] { self->begin_stop(std::move(done), forget); });
  });
}

} // namespace penstock::mqtt
