#include "tests/sim/outbox.hpp"

#include "tests/sim/ingest_flow.hpp"

#include <algorithm>

namespace penstock::sim {

using mqtt::packet_type;

void outbox::publish(const flight& one, bool duplicate, std::string& out) const {
  const auto topic = world_->ingest().topic_of(one.number);
  const auto payload = world_->ingest().payload_of(one.number);
  world_->trace("  message {} goes out as packet {}{}", one.number, one.packet_id, duplicate ? " DUP" : "");
  mqtt::publish_packet packet;
  packet.topic = topic;
  packet.payload = payload;
  packet.packet_id = one.packet_id;
  packet.qos = world_->given().qos;
  packet.duplicate = duplicate;
  mqtt::encode(out, packet, mqtt::version::v5);
}

void outbox::resume(std::uint16_t receive_maximum, std::string& out) {
  receive_maximum_ = receive_maximum;
  for (const auto& each : in_flight_)
    if (each.received)
      mqtt::encode(out, mqtt::ack_packet{packet_type::pubrel, each.packet_id, 0}, mqtt::version::v5);
    else
      publish(each, true, out);
}

void outbox::send(std::string& out) {
  while (!queue_.empty() && in_flight_.size() < receive_maximum_) {
    // An id that was just used comes again only after all others: who takes one for a repeat is seen.
    last_id_ = static_cast<std::uint16_t>(last_id_ % (2 * receive_maximum_) + 1);
    if (std::any_of(in_flight_.begin(), in_flight_.end(),
                    [this](const auto& one) { return one.packet_id == last_id_; }))
      continue;
    in_flight_.push_back({queue_.front(), last_id_});
    queue_.pop_front();
    publish(in_flight_.back(), false, out);
  }
}

void outbox::on_ack(const mqtt::ack_packet& ack, std::string& out) {
  const auto found =
    ack.type == packet_type::pubcomp
      ? std::find_if(in_flight_.begin(), in_flight_.end(),
                     [&](const auto& one) { return one.packet_id == ack.packet_id; })
      : std::find_if(in_flight_.begin(), in_flight_.end(), [](const auto& one) { return !one.received; });
  if (found == in_flight_.end() || found->packet_id != ack.packet_id ||
      (ack.type == packet_type::pubcomp && !found->received))
    return world_->violate(fmt::format("{} for packet {} is not what is next", mqtt::name_of(ack.type), ack.packet_id));
  if (ack.type != packet_type::pubcomp) {
    world_->trace("  message {} is acknowledged", found->number);
    world_->ingest().check_acknowledged(found->number);
  }
  if (ack.type == packet_type::pubrec) {
    found->received = true;
    mqtt::encode(out, mqtt::ack_packet{packet_type::pubrel, ack.packet_id, 0}, mqtt::version::v5);
  } else {
    in_flight_.erase(found);
  }
  send(out);
}

void outbox::excuse_all() const {
  for (const auto number : queue_)
    world_->ingest().excuse(number);
  for (const auto& each : in_flight_)
    world_->ingest().excuse(each.number);
}

} // namespace penstock::sim
