#include "mqtt/session.hpp"

#include "core/assert.hpp"
#include "mqtt/reason.hpp"

#include <algorithm>

namespace penstock::mqtt {

namespace {

/// PUBLISH uses lower ones, so that this one is always free.
constexpr std::uint16_t subscribe_packet_id = 65'535;
constexpr std::uint32_t session_never_expires = 0xffff'ffff;
constexpr std::uint8_t retain_only_if_new = 0x10;
constexpr std::uint8_t outcome_unknown = 0x92;
constexpr std::size_t text_bytes_max = 65'535;

error violation(std::string text) { return {errc::protocol_violation, std::move(text)}; }

} // namespace

session::session(session_options options) : options_(std::move(options)), had_session_(options_.was_there) {
  assert_that(options_.publish_window_max > 0 && options_.publish_window_max < subscribe_packet_id,
              "the publish window is between 1 and 65,534");
  assert_that(options_.publish_window_max_3_1_1 > 0, "the publish window of 3.1.1 is at least 1");
  assert_that(options_.keep_alive.count() <= 65'535, "the keep alive is at most 65,535 s");
}

void session::open(monotonic now) {
  close();
  open_ = true;
  fell_back_ = false;
  connect_packet packet;
  packet.version = options_.version;
  packet.client_id = options_.client_id;
  packet.clean_start = options_.clean_start;
  packet.keep_alive_s = static_cast<std::uint16_t>(options_.keep_alive.count());
  if (!options_.user.empty())
    packet.user = options_.user;
  if (!options_.password.empty())
    packet.password = options_.password;
  if (const auto& will = options_.will)
    packet.will = will_packet{will->topic, will->payload, will->qos, will->retain};
  packet.session_expiry_s = options_.clean_start ? 0 : session_never_expires;
  packet.receive_maximum = static_cast<std::uint16_t>(std::clamp<std::uint32_t>(options_.receive_max, 1, 65'535));
  packet.packet_bytes_max = options_.packet_bytes_max;
  packet.topic_alias_max = options_.topic_alias_max;
  encode(output_, packet);
  keep_alive_ = options_.keep_alive;
  last_sent_ = now;
  last_received_ = now;
}

void session::close() {
  for (const auto token : output_tokens_)
    completions_.push_back({token, 0x80});
  output_tokens_.clear();
  output_.clear();
  if (options_.shared)
    std::fill(inbound_states_.begin(), inbound_states_.end(), inbound_state::none);
  for (const auto& entry : unacknowledged_)
    if (entry.qos == 2 && state_of(entry.packet_id) == inbound_state::delivered)
      state_of(entry.packet_id) = inbound_state::none;
  unacknowledged_.clear();
  aliases_.clear();
  resend_.clear();
  unanswered_.clear();
  for (auto& one : flights_)
    one.on_connection = false;
  sent_ = 0;
  window_ = 0;
  broker_reason_ = 0;
  packet_wanted_ = 0;
  pinged_.reset();
  pings_ = 0;
  unsubscribe_refusal_.clear();
  open_ = established_ = proceeds_ = subscribed_ = settled_ = asks_for_end_ = drained_ = false;
}

void session::finish(bool forget) {
  if (!open_)
    return;
  disconnect_packet packet;
  if (forget)
    packet.session_expiry_s = 0;
  encode(output_, packet, options_.version);
  established_ = proceeds_ = false;
}

result<std::size_t> session::feed(std::string_view bytes, monotonic now, burst& out) {
  ++feeds_;
  packet_wanted_ = 0;
  const std::size_t bytes_before = out.bytes;
  std::size_t taken = 0;
  packet_view packet;
  std::optional<error> failure;
  while (taken < bytes.size()) {
    const auto status = scan(bytes.substr(taken), packet);
    if (status == scan_status::malformed || packet.size > options_.packet_bytes_max) {
      failure = violation(status == scan_status::malformed
                            ? "malformed packet header"
                            : "a packet of " + std::to_string(packet.size) + " bytes, more than the limit");
      break;
    }
    if (status == scan_status::incomplete) {
      packet_wanted_ = packet.size;
      break;
    }
    auto done = packet.type == packet_type::publish ? on_publish(packet, out) : on_packet(packet);
    if (!done) {
      failure = done.error();
      break;
    }
    if (packet.type != packet_type::pingresp) {
      silent_since_ = now;
      asks_for_end_ = false;
    }
    taken += packet.size;
  }
  if (taken > 0) {
    last_received_ = now;
    pinged_.reset();
  }
  if (out.bytes > bytes_before) {
    portions_.push_back({delivered_, out.bytes - bytes_before});
    unreleased_bytes_ += out.bytes - bytes_before;
  }
  if (failure)
    return *std::move(failure);
  return taken;
}

result<void> session::on_packet(const packet_view& packet) {
  if (!open_)
    return violation("a packet outside of a connection");
  if (packet.type == packet_type::connack)
    return on_connack(packet);
  if (!established_)
    return violation(std::string{name_of(packet.type)} + " before CONNACK");
  switch (packet.type) {
  case packet_type::puback:
  case packet_type::pubrec:
  case packet_type::pubrel:
  case packet_type::pubcomp: return on_ack(packet);
  case packet_type::suback: return on_suback(packet);
  case packet_type::unsuback: return on_unsuback(packet);
  case packet_type::pingresp: return on_pingresp(packet);
  case packet_type::disconnect: return on_disconnect(packet);
  default: return violation(std::string{name_of(packet.type)} + " from a broker that may not send it");
  }
}

// --- inbound
// ----------------------------------------------------------------------------------------------------------

result<void> session::on_publish(const packet_view& packet, burst& out) {
  if (!established_)
    return violation("PUBLISH before CONNACK");
  auto decoded = decode_publish(packet, options_.version);
  if (!decoded)
    return decoded.error();
  publish_packet& message = *decoded;
  if (message.topic_alias != 0)
    if (auto resolved = resolve_alias(message, out); !resolved)
      return resolved;
  if (message.qos == 2) {
    inbound_state& state = state_of(message.packet_id);
    if (message.duplicate && state == inbound_state::received)
      encode_success(output_, packet_type::pubrec, message.packet_id);
    if (message.duplicate && state != inbound_state::none)
      return {};
    state = inbound_state::delivered;
  }
  deliver(message, packet.size, out);
  return {};
}

result<void> session::resolve_alias(publish_packet& message, burst& out) {
  const std::size_t index = message.topic_alias;
  if (index > options_.topic_alias_max)
    return violation("PUBLISH: topic alias " + std::to_string(index) + " is above the maximum");
  if (aliases_.size() <= index)
    aliases_.resize(index + 1);
  alias& known = aliases_[index];
  if (!message.topic.empty()) {
    known = {std::make_shared<const std::string>(message.topic), 0};
    return {};
  }
  if (!known.topic)
    return violation("PUBLISH: topic alias " + std::to_string(index) + " is not known");
  if (known.feed != feeds_) {
    out.storage.push_back(known.topic);
    known.feed = feeds_;
  }
  message.topic = *known.topic;
  return {};
}

void session::deliver(const publish_packet& message, std::size_t size, burst& out) {
  ++delivered_;
  if (out.messages.empty())
    out.first = delivered_;
  out.messages.push_back({message.topic, message.payload, message.qos, message.duplicate, message.retained,
                          message.correlation, message.message_id});
  out.bytes += size;
  unacknowledged_.push_back({message.packet_id, message.qos});
}

void session::release(sequence last) {
  last = std::min(last, delivered_);
  if (last <= released_)
    return;
  released_ = last;
  while (!portions_.empty() && portions_.front().last <= last) {
    unreleased_bytes_ -= portions_.front().bytes;
    portions_.pop_front();
  }
  const std::uint64_t still = delivered_ - last;
  while (unacknowledged_.size() > still) {
    const auto entry = unacknowledged_.front();
    unacknowledged_.pop_front();
    if (!established_ || entry.qos == 0)
      continue;
    if (entry.qos == 2)
      state_of(entry.packet_id) = inbound_state::received;
    encode_success(output_, entry.qos == 1 ? packet_type::puback : packet_type::pubrec, entry.packet_id);
  }
}

session::inbound_state& session::state_of(std::uint16_t packet_id) {
  if (inbound_states_.empty())
    inbound_states_.resize(65'536, inbound_state::none);
  return inbound_states_[packet_id];
}

// --- the broker's answers
// ---------------------------------------------------------------------------------------------

error session::refusal(const connack_packet& answer) {
  const bool five = options_.version == version::v5;
  if (five && (answer.reason == 0x01 || answer.reason == 0x84)) {
    options_.version = version::v3_1_1;
    fell_back_ = true;
    return {errc::unsupported, "the broker does not speak MQTT 5"};
  }
  broker_reason_ = five ? answer.reason : std::uint8_t{0};
  return five ? error_of_reason(answer.reason, "the broker refused the connection", answer.reason_text)
              : error_of_return_code(answer.reason);
}

result<void> session::on_connack(const packet_view& packet) {
  if (established_)
    return violation("a second CONNACK");
  auto decoded = decode_connack(packet, options_.version);
  if (!decoded)
    return decoded.error();
  const connack_packet& answer = *decoded;
  if (answer.reason != 0)
    return refusal(answer);
  if (answer.session_present && options_.clean_start)
    return violation("CONNACK: a session is present though a clean start was asked for");
  established_ = true;
  session_present_ = answer.session_present;
  session_lost_ = session_lost_ || (had_session_ && !session_present_);
  began_here_ = began_here_ || !session_present_;
  had_session_ = !options_.clean_start;
  broker_qos_max_ = answer.qos_max;
  broker_retains_ = answer.retain_available;
  broker_packet_bytes_max_ = answer.packet_bytes_max;
  if (answer.keep_alive_s)
    keep_alive_ = std::chrono::seconds{*answer.keep_alive_s};
  const std::size_t broker_window =
    options_.version == version::v5 ? answer.receive_maximum : options_.publish_window_max_3_1_1;
  window_ = std::min<std::size_t>(options_.publish_window_max, broker_window);
  subscribe();
  if (!session_present_)
    abandon_flights();
  if (!options_.on_request)
    proceed();
  return {};
}

void session::proceed() {
  if (!established_ || proceeds_)
    return;
  proceeds_ = true;
  if (session_present_)
    resume_flights();
  pump();
}

void session::subscribe() {
  subscribed_ = options_.subscriptions.empty();
  if (subscribed_)
    return unsubscribe();
  subscribe_packet packet{subscribe_packet_id, {}};
  for (const auto& filter : options_.subscriptions)
    packet.subscriptions.push_back({filter, static_cast<std::uint8_t>(options_.subscription_qos | retain_only_if_new)});
  encode(output_, packet, options_.version);
}

result<void> session::on_suback(const packet_view& packet) {
  auto decoded = decode_suback(packet, options_.version);
  if (!decoded)
    return decoded.error();
  if (decoded->packet_id != subscribe_packet_id || subscribed_)
    return violation("SUBACK without a SUBSCRIBE");
  if (decoded->reasons.size() != options_.subscriptions.size())
    return violation("SUBACK with " + std::to_string(decoded->reasons.size()) + " reasons for " +
                     std::to_string(options_.subscriptions.size()) + " filters");
  for (std::size_t i = 0; i < options_.subscriptions.size(); ++i) {
    const auto reason = static_cast<std::uint8_t>(decoded->reasons[i]);
    const std::string what = "the broker refused the subscription " + options_.subscriptions[i];
    if (reason >= 0x80 && options_.version == version::v3_1_1)
      return error{errc::not_authorised, what};
    if (reason >= 0x80)
      return error_of_reason(reason, what, {});
  }
  subscribed_ = true;
  unsubscribe();
  return {};
}

/// After the SUBACK: what both the former and the new subscriptions cover is covered all the time.
void session::unsubscribe() {
  settled_ = options_.unsubscriptions.empty();
  if (settled_)
    return;
  encode(output_,
         unsubscribe_packet{subscribe_packet_id, {options_.unsubscriptions.begin(), options_.unsubscriptions.end()}},
         options_.version);
}

result<void> session::on_unsuback(const packet_view& packet) {
  auto decoded = decode_unsuback(packet, options_.version);
  if (!decoded)
    return decoded.error();
  if (decoded->packet_id != subscribe_packet_id || !subscribed_ || settled_)
    return violation("UNSUBACK without an UNSUBSCRIBE");
  const bool five = options_.version == version::v5; // 3.1.1 has no reasons: it is done
  if (five && decoded->reasons.size() != options_.unsubscriptions.size())
    return violation("UNSUBACK with " + std::to_string(decoded->reasons.size()) + " reasons for " +
                     std::to_string(options_.unsubscriptions.size()) + " filters");
  for (std::size_t i = 0; i < decoded->reasons.size() && five; ++i)
    if (const auto reason = static_cast<std::uint8_t>(decoded->reasons[i]); reason >= 0x80)
      unsubscribe_refusal_ += (unsubscribe_refusal_.empty() ? "" : ", ") + options_.unsubscriptions[i] + " (" +
                              std::string{reason_name(reason)} + ")";
  settled_ = true;
  return {};
}

result<void> session::on_disconnect(const packet_view& packet) {
  auto decoded = decode_disconnect(packet, options_.version);
  if (!decoded)
    return decoded.error();
  if (options_.version == version::v3_1_1)
    return violation("DISCONNECT from a broker that may not send it");
  if (decoded->reason == 0)
    return error{errc::connection_lost, "the broker ended the connection"};
  broker_reason_ = decoded->reason;
  return error_of_reason(decoded->reason, "the broker ended the connection", decoded->reason_text);
}

result<void> session::on_ack(const packet_view& packet) {
  auto decoded = decode_ack(packet, options_.version);
  if (!decoded)
    return decoded.error();
  const ack_packet& ack = *decoded;
  if (ack.type == packet_type::pubrel) {
    on_pubrel(ack);
    return {};
  }
  flight* found = flight_of(ack.packet_id);
  if (found != nullptr && !found->on_connection)
    return {}; // a stray answer: it goes out again when its turn has come
  const std::uint8_t qos = ack.type == packet_type::puback ? 1 : 2;
  if (found != nullptr && found->message.qos != qos)
    return violation(std::string{name_of(ack.type)} + " for a message of another QoS");
  if (ack.type == packet_type::pubrec) {
    on_pubrec(ack, found);
  } else if (found != nullptr) {
    if (ack.type == packet_type::pubcomp && found->state != flight_state::released)
      return violation("PUBCOMP before PUBREL");
    // A PUBCOMP with 0x92 too means that it was released before.
    complete(*found, ack.type == packet_type::pubcomp ? std::uint8_t{0} : ack.reason);
  }
  forget_answered();
  pump();
  return {};
}

void session::on_pubrel(const ack_packet& ack) {
  const bool known = !inbound_states_.empty() && inbound_states_[ack.packet_id] != inbound_state::none;
  if (known)
    inbound_states_[ack.packet_id] = inbound_state::none;
  const std::uint8_t reason = known || options_.version != version::v5 ? 0 : 0x92;
  encode(output_, ack_packet{packet_type::pubcomp, ack.packet_id, reason}, options_.version);
}

/// `found`: the flight that it answers, if any.
void session::on_pubrec(const ack_packet& ack, flight* found) {
  if (found == nullptr) {
    // Where the caller releases, this may be about a handshake that it is about to resume.
    const std::uint8_t reason = options_.version == version::v5 ? 0x92 : 0;
    if (ack.reason < 0x80 && !options_.release_by_caller)
      encode(output_, ack_packet{packet_type::pubrel, ack.packet_id, reason}, options_.version);
    return;
  }
  if (found->state == flight_state::published && ack.reason >= 0x80)
    return complete(*found, ack.reason);
  if (found->state == flight_state::published) {
    for (std::string* text : {&found->message.payload, &found->message.correlation, &found->message.message_id})
      std::string{}.swap(*text);
    found->state = options_.release_by_caller ? flight_state::received : flight_state::released;
    found->asked = 0;
    if (options_.release_by_caller)
      completions_.push_back({found->message.token, ack.reason, publish_stage::received});
  }
  if (found->state == flight_state::released)
    send_release(*found);
}

// --- outbound
// ---------------------------------------------------------------------------------------------------------

void session::publish(outbound message) {
  if (message.qos == 0)
    message.packet_id = 0;
  else
    reserve(message.packet_id);
  queue_.push_back(std::move(message));
  if (proceeds_)
    pump();
}

void session::release_published(std::span<const std::uint16_t> packet_ids) {
  for (const std::uint16_t packet_id : packet_ids) {
    flight* found = flight_of(packet_id);
    if (found == nullptr || found->state != flight_state::received)
      continue;
    found->state = flight_state::released;
    if (proceeds_)
      send_release(*found);
  }
}

void session::resume(outbound message, resumed_state state) {
  assert_that(message.packet_id != 0, "what is resumed has a packet id");
  assert_that(message.qos == 2 || (message.qos == 1 && state == resumed_state::published),
              "only QoS 1 and 2 are resumed, and only QoS 2 is released");
  reserve(message.packet_id);
  const bool released = state == resumed_state::released;
  flight& one = take_off(std::move(message), released ? flight_state::released : flight_state::published);
  one.duplicate = true;
  // A CONNACK since then, with a session that is another one, has made the packet id meaningless.
  if (began_here_)
    return complete(one, released ? 0 : outcome_unknown);
  if (!proceeds_)
    return;
  if (released) {
    send_release(one);
  } else {
    resend_.push_back(static_cast<std::uint16_t>(&one - flights_.data()));
    pump();
  }
}

/// 0: none, the session chooses one when it sends.
void session::reserve(std::uint16_t packet_id) {
  const bool by_caller = packet_id != 0;
  assert_that(ids_by_caller_.value_or(by_caller) == by_caller,
              "packet ids are the caller's or the session's, not both");
  ids_by_caller_ = by_caller;
  if (!by_caller)
    return;
  assert_that(packet_id < subscribe_packet_id, "the packet ids of messages are 1 to 65,534");
  if (slots_.size() <= packet_id)
    slots_.resize(packet_id + std::size_t{1});
  assert_that(slots_[packet_id] == 0, "a packet id is used for one message at a time");
  slots_[packet_id] = waits_in_queue;
}

/// Into a slot, under the message's packet id or a new one.
session::flight& session::take_off(outbound message, flight_state state) {
  if (free_.empty()) {
    flights_.emplace_back();
    free_.push_back(static_cast<std::uint16_t>(flights_.size() - 1));
  }
  // The slot, and with it the session's own identifier, that has been free for longest: a late acknowledgement then
  // meets no new message.
  const std::uint16_t slot = free_.front();
  free_.pop_front();
  const auto in_use = static_cast<std::uint16_t>(slot + 1);
  const std::uint16_t packet_id = message.packet_id != 0 ? message.packet_id : in_use;
  if (slots_.size() <= packet_id)
    slots_.resize(packet_id + std::size_t{1});
  slots_[packet_id] = in_use;
  flights_[slot] = {std::move(message), next_order_++, 0, packet_id, state, false, false};
  return flights_[slot];
}

publish_packet session::packet_of(const outbound& message) const {
  return {message.topic,       message.payload,   0, 0, message.qos, false, message.retain,
          message.correlation, message.message_id};
}

/// 0, or the reason why the broker would refuse it (or end the connection over it).
std::uint8_t session::refused_by_broker(const outbound& message) const {
  if (!valid_topic(message.topic))
    return 0x90;
  if (message.qos > broker_qos_max_)
    return 0x9b;
  if (message.retain && !broker_retains_)
    return 0x9a;
  if (options_.version == version::v5) {
    if (message.correlation.size() > text_bytes_max || message.message_id.size() > text_bytes_max)
      return 0x95;
    if (!valid_string(message.message_id))
      return 0x83; // implementation specific error: there is none for it
  }
  const std::size_t size = encoded_size(packet_of(message), options_.version);
  if (size > packet_bytes_limit || (broker_packet_bytes_max_ != 0 && size > broker_packet_bytes_max_))
    return 0x95;
  return 0;
}

void session::pump() {
  while (!resend_.empty() && sent_ < window_) {
    flight& one = flights_[resend_.front()];
    resend_.pop_front();
    // The broker may take less than it took from a former process, which may not have sent this one at all.
    if (const std::uint8_t reason = refused_by_broker(one.message))
      complete(one, reason);
    else
      send(one);
  }
  if (resend_.empty())
    pump_queue();
}

void session::pump_queue() {
  while (!queue_.empty() && (queue_.front().qos == 0 || sent_ < window_)) {
    outbound message = std::move(queue_.front());
    queue_.pop_front();
    if (const std::uint8_t reason = refused_by_broker(message)) {
      completions_.push_back({message.token, reason});
      if (message.packet_id != 0)
        slots_[message.packet_id] = 0;
    } else if (message.qos == 0) {
      encode(output_, packet_of(message), options_.version);
      output_tokens_.push_back(message.token);
    } else {
      send(take_off(std::move(message), flight_state::published));
    }
  }
}

void session::send(flight& one) {
  count(one);
  publish_packet packet = packet_of(one.message);
  packet.packet_id = one.packet_id;
  packet.duplicate = one.duplicate;
  encode(output_, packet, options_.version);
  expect_answer(one);
}

void session::send_release(flight& one) {
  count(one);
  encode(output_, ack_packet{packet_type::pubrel, one.packet_id, 0}, options_.version);
  expect_answer(one);
}

void session::count(flight& one) {
  if (!std::exchange(one.on_connection, true))
    ++sent_;
}

/// The broker still has the session: everything in flight goes on, in the order in which it was first sent.
void session::resume_flights() {
  std::vector<std::uint16_t> slots;
  for (std::size_t i = 0; i < flights_.size(); ++i)
    if (flights_[i].state != flight_state::free)
      slots.push_back(static_cast<std::uint16_t>(i));
  std::sort(slots.begin(), slots.end(),
            [this](std::uint16_t a, std::uint16_t b) { return flights_[a].order < flights_[b].order; });
  for (const std::uint16_t slot : slots) {
    flight& one = flights_[slot];
    if (one.state == flight_state::released) {
      send_release(one);
    } else if (one.state == flight_state::received) {
      count(one); // the broker counts it too, until its PUBCOMP
    } else {
      one.duplicate = true;
      resend_.push_back(slot);
    }
  }
}

/// The broker has no session: identifiers mean nothing to it any more.
void session::abandon_flights() {
  std::fill(inbound_states_.begin(), inbound_states_.end(), inbound_state::none);
  std::vector<flight> lost = std::exchange(flights_, {});
  std::erase_if(lost, [](const flight& one) { return one.state == flight_state::free; });
  std::sort(lost.begin(), lost.end(), [](const flight& a, const flight& b) { return a.order < b.order; });
  std::vector<outbound> again;
  for (auto& one : lost) {
    if (one.message.qos == 1 && !options_.release_by_caller)
      again.push_back(std::move(one.message));
    else
      completions_.push_back(
        {one.message.token, one.state == flight_state::released ? std::uint8_t{0} : outcome_unknown});
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(again.begin()), std::make_move_iterator(again.end()));
  free_.clear();
  std::fill(slots_.begin(), slots_.end(), std::uint16_t{0});
  for (const auto& message : queue_)
    if (message.packet_id != 0)
      slots_[message.packet_id] = waits_in_queue;
}

void session::complete(flight& one, std::uint8_t reason) {
  completions_.push_back({one.message.token, reason});
  if (one.on_connection)
    --sent_;
  slots_[one.packet_id] = 0;
  free_.push_back(static_cast<std::uint16_t>(&one - flights_.data()));
  one = {};
}

/// The flight with this identifier, or nullptr.
session::flight* session::flight_of(std::uint16_t packet_id) {
  if (packet_id >= slots_.size() || slots_[packet_id] == 0 || slots_[packet_id] == waits_in_queue)
    return nullptr;
  return &flights_[slots_[packet_id] - 1u];
}

void session::take_output(monotonic now, std::string& bytes, std::vector<std::uint64_t>& tokens) {
  last_sent_ = now;
  for (auto one = unanswered_.rbegin(); one != unanswered_.rend() && one->since == unwritten; ++one)
    one->since = now;
  bytes.clear();
  tokens.clear();
  bytes.swap(output_);
  tokens.swap(output_tokens_);
}

std::vector<completion> session::take_completions() { return std::exchange(completions_, {}); }

// --- keep alive
// -------------------------------------------------------------------------------------------------------

void session::expect_answer(flight& one) {
  if (options_.publish_timeout.count() == 0)
    return;
  one.asked = ++questions_;
  unanswered_.push_back({static_cast<std::uint16_t>(&one - flights_.data()), one.asked, unwritten});
}

void session::forget_answered() {
  while (!unanswered_.empty() && flights_[unanswered_.front().slot].asked != unanswered_.front().number)
    unanswered_.pop_front();
}

/// When the publish_timeout of the oldest question is over.
std::optional<monotonic> session::answer_due() const {
  if (unanswered_.empty() || unanswered_.front().since == unwritten)
    return std::nullopt;
  return std::max(unanswered_.front().since, reading_since_) + options_.publish_timeout;
}

std::optional<monotonic> session::deadline(bool reading) const {
  if (!established_)
    return std::nullopt;
  auto answer = reading ? answer_due() : std::nullopt;
  if (const auto drained = reading ? drained_due() : std::nullopt; drained)
    answer = answer ? std::min(*answer, *drained) : *drained;
  if (keep_alive_.count() == 0)
    return answer;
  const monotonic::duration whole = keep_alive_;
  monotonic due = last_sent_ + whole * 3 / 4;
  if (reading)
    due = std::min(due, pinged_ ? *pinged_ + whole / 2 : last_received_ + whole);
  return answer ? std::min(due, *answer) : due;
}

/// When the silence is long enough to ask; nullopt: it is not to be asked now.
std::optional<monotonic> session::drained_due() const {
  if (options_.drained_after.count() == 0 || !settled_ || !unsubscribe_refusal_.empty() || asks_for_end_ || drained_)
    return std::nullopt;
  return std::max(silent_since_, last_sent_) + options_.drained_after;
}

void session::ping(monotonic now, bool reading) {
  encode_pingreq(output_);
  ++pings_;
  last_sent_ = now;
  if (reading && !pinged_)
    pinged_ = now;
}

result<void> session::on_pingresp(const packet_view& packet) {
  if (auto decoded = decode_ping(packet); !decoded)
    return decoded;
  if (pings_ > 0)
    --pings_;
  drained_ = drained_ || (asks_for_end_ && pings_ == 0);
  return {};
}

result<void> session::tick(monotonic now, bool reading) {
  if (!established_)
    return {};
  if (const auto due = drained_due(); reading && due && now >= *due) {
    asks_for_end_ = unreleased() == 0;
    if (asks_for_end_)
      ping(now, reading);
    else
      silent_since_ = now;
  }
  if (const auto answer = answer_due(); reading && answer && now >= *answer)
    return error{errc::timed_out, "the broker has not answered a PUBLISH or PUBREL within " +
                                    std::to_string(options_.publish_timeout.count()) + " ms"};
  if (keep_alive_.count() == 0)
    return {};
  const monotonic::duration whole = keep_alive_;
  if (!reading)
    pinged_.reset();
  if (pinged_ && now >= *pinged_ + whole / 2)
    return error{errc::timed_out, "the broker has not answered a PINGREQ"};
  const bool silent = now >= last_sent_ + whole * 3 / 4;
  const bool deaf = reading && !pinged_ && now >= last_received_ + whole;
  if (silent || deaf)
    ping(now, reading);
  return {};
}

void session::reading_resumed(monotonic now) {
  reading_since_ = now;
  last_received_ = now;
  pinged_.reset();
}

} // namespace penstock::mqtt
