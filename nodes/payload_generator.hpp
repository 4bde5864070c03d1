// Messages as devices would send them, made from a pipeline's columns. Pure: time is an argument.
#pragma once

#include "config/config.hpp"
#include "core/result.hpp"
#include "core/types.hpp"
#include "storage/store.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace penstock::nodes {

struct generator_options {
  std::uint64_t devices = 100;
  double malformed_percent = 0; ///< of the messages, on average
  std::uint64_t seed = 1;
  wall_time started{}; ///< tells the keys of two runs apart where no timestamp in the key does
};

struct generated_message {
  std::string topic;
  std::string payload;
  bool malformed = false;
  storage::key_text key; ///< of the row that it must become; empty when malformed
};

/// Device i % devices sends message i. Topic levels: the last {name_id} of the pattern numbers the devices of one group
/// ("name_001" to "name_010"), the earlier ones the groups ("name_0", ...); of a pattern with one name, that name
/// numbers all devices. Payload members by type: a timestamp is the time of sending (rising by at least 1 µs, so that
/// no two are the same), an integer of the key the device's sequence, other values plausible ones; members that no
/// column takes are added. Apart from times the same for the same seed.
class payload_generator {
public:
  /// Refuses with `configuration` a pipeline whose keys cannot be foretold (a key column from $received, say), or that
  /// takes nothing from the payload although malformed messages are asked for.
  static result<payload_generator> make(const config::ingest& pipeline, generator_options options);

  generated_message next(wall_time now);

private:
  struct leaf { // a place in the payload, filled for every message
    std::string name;
    column_type type = column_type::text;
    bool optional = false;
    bool in_key = false;
  };
  struct pattern {
    std::vector<std::string> levels; ///< fixed text, or a name without "_id" where kinds says so
    enum class kind : std::uint8_t { text, group, device, all_devices };
    std::vector<kind> kinds;
    std::map<std::string, std::size_t> level_of; ///< name -> index
  };
  struct key_part {
    std::variant<std::monostate, std::size_t, std::string>
      from; ///< the whole topic or payload, a leaf, a level or a constant
    config::source::kind kind = config::source::kind::payload_path;
  };
  struct node;

  payload_generator() = default;
  result<void> add_columns(const config::ingest& pipeline);
  result<void> add_key(const config::ingest& pipeline);
  void add_piece(const std::string& text);
  void write_node(const node& from);
  std::uint64_t random();
  std::uint64_t random(std::uint64_t bound) { return random() % bound; }
  std::string level(const pattern& topic, std::size_t index, std::uint64_t device) const;
  std::string value_of(const leaf& place, std::uint64_t device_sequence, wall_time time, std::string& key_value);
  std::string break_payload(const std::string& payload);

  generator_options options_;
  std::vector<pattern> topics_;
  std::vector<leaf> leaves_;
  std::vector<std::string> pieces_; ///< of the payload: pieces_[i] stands before leaf order_[i]; one more piece ends it
  std::vector<std::size_t> order_;
  std::vector<std::pair<std::string, std::size_t>> leaf_paths_; ///< path as text -> leaf
  std::vector<key_part> key_;
  bool any_required_ = false;
  std::uint64_t random_ = 0;
  std::uint64_t messages_ = 0;
  std::int64_t sequence_base_ = 0;
  wall_time last_time_{};
};

/// The pipeline that `load --broker --topic` stands for: the telemetry shape, with a key of time, the names in `topic`,
/// and sequence_id.
result<config::configuration> telemetry_configuration(const std::string& broker_url, const std::string& topic);

} // namespace penstock::nodes
