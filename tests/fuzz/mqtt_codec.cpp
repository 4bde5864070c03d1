// Any bytes from a broker, in any pieces, over two connections: the session fails with an error or goes on, never
// worse. The first byte chooses the version and where the bytes are cut.
#include "mqtt/session.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace penstock;
using namespace penstock::mqtt;

void decode_as_broker(std::string_view bytes, version version) {
  packet_view packet;
  if (scan(bytes, packet) != scan_status::complete)
    return;
  // What only a broker reads.
  if (packet.type == packet_type::connect)
    (void)decode_connect(packet);
  else if (packet.type == packet_type::subscribe)
    (void)decode_subscribe(packet, version);
  else if (packet.type == packet_type::unsubscribe)
    (void)decode_unsubscribe(packet, version);
  else if (packet.type == packet_type::unsuback)
    (void)decode_unsuback(packet, version);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0)
    return 0;
  const std::uint8_t choice = data[0];
  const std::string_view bytes{reinterpret_cast<const char*>(data + 1), size - 1};
  session_options options;
  options.client_id = "fuzz";
  options.subscriptions = {"#"};
  options.version = (choice & 1u) != 0 ? version::v5 : version::v3_1_1;
  session one{options};
  one.publish({"t", "one", 1, false, 1});
  one.publish({"t", "two", 2, false, 2});
  decode_as_broker(bytes, options.version);
  const std::size_t cut = bytes.empty() ? 0 : (choice >> 1) % (bytes.size() + 1);
  const monotonic now;
  for (int connection = 0; connection < 2; ++connection) {
    one.open(now);
    std::string pending;
    std::string output;
    std::vector<std::uint64_t> tokens;
    for (const auto part : {bytes.substr(0, cut), bytes.substr(cut)}) {
      pending += part;
      burst out;
      const auto taken = one.feed(pending, now, out);
      for (const auto& message : out.messages)
        if (message.topic.empty())
          std::abort();
      if (!taken)
        break;
      pending.erase(0, *taken);
      one.release(one.delivered());
      one.take_output(now, output, tokens);
    }
    one.close();
    (void)one.take_completions();
  }
  return 0;
}
