#include "tests/sim/broker.hpp"

#include "tests/sim/databases.hpp"
#include "tests/sim/process.hpp"

#include <algorithm>
#include <charconv>

namespace penstock::sim {

using mqtt::packet_type;
using mqtt::packet_view;
constexpr auto v5 = mqtt::version::v5;

namespace {

/// "payload 12" of a row of that id.
std::int64_t row_of(std::string_view payload) {
  std::int64_t id = 0;
  const auto digits = payload.substr(payload.find(' ') + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), id);
  return id;
}

/// Of a client id.
std::uint32_t shard_of(const std::string& client_id) {
  return static_cast<std::uint32_t>(std::stoul(client_id.substr(client_id.rfind('-') + 1)));
}

} // namespace

std::shared_ptr<wire> broker::dial(process& from) {
  auto made = std::make_shared<wire>();
  made->owner = &from;
  made->owner_name = from.name();
  wires_.push_back(made);
  return made;
}

bool broker::readable(const wire& which) const {
  if (!which.broker_open)
    return !which.client_open;
  if (which.client_open && world_.is_cut(*which.owner, service::broker))
    return false;
  return !which.to_broker.empty() || !which.client_open || which.cut;
}

bool broker::has_event() const {
  return std::any_of(wires_.begin(), wires_.end(), [this](const auto& each) { return readable(*each); });
}

void broker::act() {
  std::vector<std::size_t> ready;
  for (std::size_t index = 0; index < wires_.size(); ++index)
    if (readable(*wires_[index]))
      ready.push_back(index);
  if (ready.empty())
    return;
  const auto index = ready[world_.chance().below(ready.size())];
  const auto chosen = wires_[index];
  packet_view packet;
  if (chosen->broker_open && mqtt::scan(chosen->to_broker, packet) == mqtt::scan_status::complete) {
    const auto bytes = chosen->to_broker.substr(0, packet.size);
    chosen->to_broker.erase(0, packet.size);
    mqtt::scan(bytes, packet);
    const auto written = chosen->to_client.size();
    on_packet(chosen, packet);
    if (chosen->cut)
      chosen->to_client.resize(written);
    return;
  }
  close(*chosen);
  if (!chosen->client_open)
    wires_.erase(wires_.begin() + static_cast<std::ptrdiff_t>(index));
}

void broker::close(wire& which) {
  which.broker_open = false;
  which.to_broker.clear();
}

void broker::on_packet(const std::shared_ptr<wire>& from, const packet_view& packet) {
  world_.trace("broker reads {} of {} {}", mqtt::name_of(packet.type), from->owner_name, from->client_id);
  if (packet.type == packet_type::connect)
    return on_connect(from, packet);
  const auto known = sessions_.find(from->client_id);
  if (known == sessions_.end() || known->second.connection.lock() != from)
    return close(*from); // its session was forgotten, or is another's
  auto& mine = known->second;
  if (packet.type == packet_type::publish) {
    const auto message = mqtt::decode_publish(packet, v5);
    if (!message)
      return world_.violate("the broker was sent a bad PUBLISH: " + message.error().message);
    return on_publish(*from, mine, *message);
  }
  if (packet.type == packet_type::pubrel)
    return on_pubrel(*from, mine, mqtt::decode_ack(packet, v5)->packet_id);
  if (packet.type == packet_type::subscribe)
    return on_subscribe(*from, mine, packet);
  if (packet.type == packet_type::puback || packet.type == packet_type::pubrec || packet.type == packet_type::pubcomp)
    return mine.outbox.on_ack(*mqtt::decode_ack(packet, v5), from->to_client);
  if (packet.type == packet_type::pingreq)
    return mqtt::encode_pingresp(from->to_client);
  if (packet.type == packet_type::disconnect)
    return close(*from);
  world_.violate("the broker was sent an unexpected " + std::string{mqtt::name_of(packet.type)});
}

void broker::on_connect(const std::shared_ptr<wire>& from, const packet_view& packet) {
  const auto asked = mqtt::decode_connect(packet);
  from->client_id = std::string{asked->client_id};
  const bool present = sessions_.contains(from->client_id);
  auto& mine = sessions_.try_emplace(from->client_id, session{{}, {}, sim::outbox{world_}}).first->second;
  if (const auto former = mine.connection.lock(); former && former->broker_open) {
    world_.count("take-overs");
    if (!world_.given().silent_take_over)
      mqtt::encode(former->to_client, mqtt::disconnect_packet{0x8E, {}}, v5);
    close(*former);
  }
  mine.connection = from;
  mqtt::connack_packet answer;
  answer.session_present = present;
  answer.receive_maximum = world_.given().window;
  mqtt::encode(from->to_client, answer, v5);
  mine.outbox.resume(asked->receive_maximum, from->to_client);
  mine.outbox.send(from->to_client);
}

// --- to subscribers

void broker::on_subscribe(wire& from, session& of, const packet_view& packet) {
  const auto asked = mqtt::decode_subscribe(packet, v5);
  of.outbox.subscribed = true;
  const std::string granted(asked->subscriptions.size(), static_cast<char>(world_.given().qos));
  mqtt::encode_suback(from.to_client, mqtt::suback_packet{asked->packet_id, granted}, v5);
}

bool broker::has_subscribers() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const auto& each) { return each.second.outbox.subscribed; });
}

/// Brokers differ in whether they deal to sessions that are away.
void broker::accept(std::int64_t number) {
  std::vector<session*> all;
  std::vector<session*> present;
  for (auto& [unused, each] : sessions_) {
    if (!each.outbox.subscribed)
      continue;
    all.push_back(&each);
    if (!each.connection.expired())
      present.push_back(&each);
  }
  const auto& able = present.empty() || world_.chance().chance(300) ? all : present;
  auto& chosen = *able[world_.chance().below(able.size())];
  chosen.outbox.push(number);
  if (const auto to = chosen.connection.lock(); to && to->broker_open && !to->cut)
    chosen.outbox.send(to->to_client);
}

bool broker::has_delivered_all() const {
  return std::all_of(sessions_.begin(), sessions_.end(),
                     [](const auto& each) { return each.second.outbox.is_empty(); });
}

// --- from publishers

void broker::on_publish(wire& from, session& of, const mqtt::publish_packet& message) {
  const std::string payload{message.payload};
  const auto id = row_of(payload);
  world_.trace("  row {} as packet {} qos {}{}", id, message.packet_id, message.qos, message.duplicate ? " DUP" : "");
  if (message.message_id != "p/" + std::to_string(id))
    world_.violate(fmt::format("row {} was sent under the id {}", id, message.message_id));
  if (message.qos == 1) {
    note_claim(shard_of(from.client_id), id); // nothing of it is recorded yet
    deliver(payload);
    return mqtt::encode_success(from.to_client, packet_type::puback, message.packet_id);
  }
  world_.the_databases().check_published(id, message.packet_id);
  forgotten_.erase(shard_of(from.client_id)); // it goes on with the new session
  const auto held = of.held.find(message.packet_id);
  if (held == of.held.end()) {
    of.held[message.packet_id] = payload;
    if (of.held.size() > world_.given().window)
      world_.violate("more is in flight than Receive Maximum");
    if (!world_.given().deliver_at_pubrel)
      deliver(payload);
  } else if (!message.duplicate || held->second != payload) {
    world_.violate(
      fmt::format("packet id {} is in use by '{}', and came with row {}", message.packet_id, held->second, id));
  }
  mqtt::encode_success(from.to_client, packet_type::pubrec, message.packet_id);
}

void broker::note_claim(std::uint32_t shard, std::int64_t row) {
  if (forgotten_.contains(shard))
    excused.insert(row);
}

void broker::on_pubrel(wire& from, session& of, std::uint16_t packet_id) {
  const auto held = of.held.find(packet_id);
  const bool found = held != of.held.end();
  if (found) {
    world_.the_databases().check_released(row_of(held->second));
    if (world_.given().deliver_at_pubrel)
      deliver(held->second);
    of.held.erase(held);
  }
  mqtt::encode(from.to_client,
               mqtt::ack_packet{packet_type::pubcomp, packet_id, found ? std::uint8_t{0} : std::uint8_t{0x92}}, v5);
}

void broker::deliver(const std::string& payload) {
  const auto id = row_of(payload);
  world_.trace("  row {} is delivered", id);
  const auto times = ++delivered[id];
  if (times > 1)
    world_.count("repeats");
  if (times > 1 && world_.given().qos == 2 && !excused.contains(id))
    world_.violate(fmt::format("row {} was delivered {} times", id, times));
  if (times > 1)
    return;
  const auto& monitor = world_.the_databases().monitor_of(id);
  auto& last = last_of_monitor_[monitor];
  if (id < last && !excused.contains(id) && !excused.contains(last) && !world_.the_databases().is_late(id))
    world_.violate(fmt::format("row {} of monitor {} came behind row {}", id, monitor, last));
  last = std::max(last, id);
}

/// TCP may have brought a part of it.
void broker::lose_some(std::string& bytes) { bytes.resize(world_.chance().below(bytes.size() + 1)); }

void broker::cut_one() {
  std::vector<std::shared_ptr<wire>> open;
  for (const auto& each : wires_)
    if (each->client_open && each->broker_open)
      open.push_back(each);
  if (open.empty())
    return;
  auto& chosen = *open[world_.chance().below(open.size())];
  world_.trace("the connection of {} {} is cut", chosen.owner_name, chosen.client_id);
  chosen.cut = true;
  lose_some(chosen.to_client);
  lose_some(chosen.to_broker);
}

void broker::cut_all_of(const process& owner) {
  for (const auto& each : wires_)
    if (each->client_open && each->owner == &owner) {
      each->client_open = false;
      lose_some(each->to_broker);
    }
}

void broker::forget_one() {
  if (sessions_.empty())
    return;
  auto chosen = sessions_.begin();
  std::advance(chosen, world_.chance().below(sessions_.size()));
  world_.trace("the broker forgets {}", chosen->first);
  chosen->second.outbox.excuse_all();
  forgotten_.insert(shard_of(chosen->first));
  world_.the_databases().excuse_open_claims(shard_of(chosen->first), excused);
  if (const auto connection = chosen->second.connection.lock())
    close(*connection);
  sessions_.erase(chosen);
}

} // namespace penstock::sim
