// Which row a message of a publish pipeline is of.
#pragma once

#include "config/config.hpp"
#include "mqtt/message.hpp"
#include "nodes/fingerprint.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::nodes {

/// What to subscribe to for the messages of a pipeline: each level of its topic that a column is part of is "+".
std::string filter_of(const config::publish& pipeline);

class message_row {
public:
  explicit message_row(const config::publish& pipeline);

  /// By the members of the payload that the key columns are mapped to, or else by the message id ("PIPELINE/KEY" or
  /// "PIPELINE/KEY/VERSION"; of a key of several columns, KEY is a JSON array of texts). Where a column holds the
  /// payload, the message id comes first. Nothing: neither says it.
  std::optional<fingerprint> of(const mqtt::inbound& message) const;

private:
  std::optional<fingerprint> of_payload(std::string_view payload) const;
  std::optional<fingerprint> of_id(std::string_view id) const;

  std::string pipeline_;
  std::size_t key_size_;
  bool versions_;
  bool id_first_;
  std::vector<std::string> members_; ///< of the key and, with versions, of the version; empty: the payload lacks some
};

} // namespace penstock::nodes
