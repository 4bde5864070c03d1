// The same rules in debug builds as in release ones: a payload from outside must not meet simdjson's own assertions.
#define SIMDJSON_DEVELOPMENT_CHECKS 0

#include "decode/json_document.hpp"

#include "core/assert.hpp"
#include "decode/convert.hpp"

#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <unordered_set>
#include <vector>

namespace penstock::decode {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;
using kind = json_value::kind;

/// A member or an element that lies on the path to a column, and what was found there.
struct path_node {
  config::source::step step;
  bool wanted = false;   // a column's path ends here
  std::uint64_t met = 0; // the payload in which it was met
  json_value value;
  std::vector<std::unique_ptr<path_node>> members;
  std::vector<std::unique_ptr<path_node>> elements;
};

/// The names of members that no column took, to tell the first from its repetitions.
class name_set {
public:
  void clear() {
    few_.clear();
    many_.clear();
  }
  /// False where it is there.
  bool insert(std::string_view name) {
    constexpr std::size_t few_max = 16;
    if (!many_.empty())
      return many_.insert(name).second;
    if (std::find(few_.begin(), few_.end(), name) != few_.end())
      return false;
    few_.push_back(name);
    if (few_.size() > few_max)
      many_.insert(few_.begin(), few_.end());
    return true;
  }

private:
  std::vector<std::string_view> few_;
  std::unordered_set<std::string_view> many_;
};

std::string_view trimmed(std::string_view token) {
  while (!token.empty() &&
         (token.back() == ' ' || token.back() == '\n' || token.back() == '\r' || token.back() == '\t'))
    token.remove_suffix(1);
  return token;
}

/// A member's key as it stands between its quotes; simdjson has made sure that the string ends.
std::string_view key_text(const char* begin, bool& escaped) {
  const char* at = begin;
  for (; *at != '"'; ++at)
    if (*at == '\\') {
      escaped = true;
      ++at;
    }
  return {begin, static_cast<std::size_t>(at - begin)};
}

} // namespace

bool is_utf8(std::string_view text) noexcept { return simdjson::validate_utf8(text.data(), text.size()); }

class json_document::implementation {
public:
  std::size_t add_path(std::span<const config::source::step> path) {
    assert_that(!path.empty(), "a path into a payload has a step");
    path_node* node = &root_;
    for (const auto& step : path) {
      auto& children = step.name.empty() ? node->elements : node->members;
      const auto at =
        std::find_if(children.begin(), children.end(), [&](const auto& child) { return child->step == step; });
      if (at == children.end()) {
        children.push_back(std::make_unique<path_node>());
        children.back()->step = step;
        node = children.back().get();
      } else {
        node = at->get();
      }
    }
    node->wanted = true;
    paths_.push_back(node);
    return paths_.size() - 1;
  }

  void collect_rest() { collects_rest_ = true; }

  result<void> parse(std::string_view payload) {
    ++generation_;
    names_.clear();
    rest_.assign("{");
    if (payload.empty())
      return error{errc::payload_malformed, "the payload is empty"};
    make_room(payload.size());
    std::memcpy(buffer_.get(), payload.data(), payload.size());
    std::memset(buffer_.get() + payload.size(), ' ', simdjson::SIMDJSON_PADDING);
    ondemand::document document;
    if (const auto failure =
          parser_.iterate(buffer_.get(), payload.size(), payload.size() + simdjson::SIMDJSON_PADDING).get(document))
      return malformed(failure);
    if (const auto failure = read_root(document))
      return failure == simdjson::INCORRECT_TYPE ? error{errc::payload_malformed, "the payload is not a JSON object"}
                                                 : malformed(failure, &document);
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
      return malformed(simdjson::TRAILING_CONTENT, &document);
    rest_ += '}';
    return {};
  }

  const json_value& value(std::size_t path) const {
    static const json_value absent;
    const auto& node = *paths_[path];
    return node.met == generation_ ? node.value : absent;
  }

  std::string_view rest() const { return rest_; }

private:
  void make_room(std::size_t size) {
    constexpr std::size_t first = std::size_t{16} * 1024;
    constexpr std::size_t kept_max = std::size_t{1024} * 1024;
    // What one huge payload took is given back.
    if (size <= capacity_ && (capacity_ <= kept_max || size > kept_max))
      return;
    capacity_ = std::bit_ceil(std::max(size, first));
    buffer_ = std::make_unique_for_overwrite<char[]>(capacity_ + simdjson::SIMDJSON_PADDING);
    parser_ = ondemand::parser{};
  }

  error malformed(error_code failure, ondemand::document* document = nullptr) {
    std::string text = std::string{"the payload is not JSON: "} + simdjson::error_message(failure);
    while (text.ends_with('.'))
      text.pop_back();
    const char* at = nullptr;
    if (document != nullptr && document->current_location().get(at) == simdjson::SUCCESS)
      text += " (at byte " + std::to_string(at - buffer_.get()) + ")";
    return {errc::payload_malformed, std::move(text)};
  }

  error_code read_root(ondemand::document& document) {
    location_ = &document;
    ondemand::json_type type{};
    if (const auto failure = document.type().get(type))
      return failure;
    if (type == ondemand::json_type::object) {
      ondemand::object object;
      const auto failure = document.get_object().get(object);
      return failure ? failure : read_members(object, &root_, 1);
    }
    if (type == ondemand::json_type::array && !root_.elements.empty()) {
      ondemand::array array;
      const auto failure = document.get_array().get(array);
      return failure ? failure : read_elements(array, &root_, 1);
    }
    return simdjson::INCORRECT_TYPE;
  }

  void meet(path_node& node) {
    node.met = generation_;
    node.value = {};
  }

  /// What a path wants of the member, or nullptr: of members with one name the first counts.
  path_node* take(path_node& parent, std::string_view name, bool& repeated) {
    for (const auto& child : parent.members)
      if (child->step.name == name) {
        repeated = child->met == generation_;
        if (!repeated)
          meet(*child);
        return child.get();
      }
    return nullptr;
  }

  error_code read_members(ondemand::object& object, path_node* node, unsigned depth) {
    for (auto next : object) {
      ondemand::field field;
      if (const auto failure = std::move(next).get(field))
        return failure;
      bool escaped = false;
      const auto key = key_text(field.key().raw(), escaped);
      auto name = key;
      if (escaped)
        if (const auto failure = field.unescaped_key().get(name))
          return failure;
      bool repeated = false;
      path_node* const child = node == nullptr ? nullptr : take(*node, name, repeated);
      std::string_view raw;
      if (const auto failure = read(field.value(), repeated ? nullptr : child, depth, raw))
        return failure;
      if (collects_rest_ && node == &root_ && child == nullptr && names_.insert(name))
        add_to_rest(key, raw);
    }
    return simdjson::SUCCESS;
  }

  void add_to_rest(std::string_view key, std::string_view raw) {
    rest_ += rest_.size() == 1 ? "\"" : ",\"";
    rest_ += key;
    rest_ += "\":";
    rest_ += raw;
  }

  error_code read_elements(ondemand::array& array, path_node* node, unsigned depth) {
    std::size_t index = 0;
    for (auto next : array) {
      ondemand::value element;
      if (const auto failure = next.get(element))
        return failure;
      path_node* child = nullptr;
      if (node != nullptr)
        for (const auto& candidate : node->elements)
          if (candidate->step.index == index) {
            child = candidate.get();
            meet(*child);
          }
      std::string_view raw;
      if (const auto failure = read(element, child, depth, raw))
        return failure;
      ++index;
    }
    return simdjson::SUCCESS;
  }

  /// Checks a value to its end, whether or not a column wants it: a skipped one could be no JSON.
  error_code read(ondemand::value value, path_node* node, unsigned depth, std::string_view& raw) {
    ondemand::json_type type{};
    if (const auto failure = value.type().get(type))
      return failure;
    raw = trimmed(value.raw_json_token());
    json_value found;
    error_code failure = simdjson::SUCCESS;
    switch (type) {
    case ondemand::json_type::object:
    case ondemand::json_type::array: failure = read_container(value, type, node, depth, raw, found.what); break;
    case ondemand::json_type::string:
      failure = read_string(value, raw, found.text);
      found.what = kind::string;
      break;
    case ondemand::json_type::number:
      failure = is_json_number(raw) ? simdjson::SUCCESS : simdjson::NUMBER_ERROR;
      found.what = kind::number;
      break;
    case ondemand::json_type::boolean:
      failure = raw == "true" || raw == "false" ? simdjson::SUCCESS
                : raw.front() == 't'            ? simdjson::T_ATOM_ERROR
                                                : simdjson::F_ATOM_ERROR;
      found.what = kind::boolean;
      break;
    case ondemand::json_type::null:
      failure = raw == "null" ? simdjson::SUCCESS : simdjson::N_ATOM_ERROR;
      found.what = kind::null;
      break;
    }
    if (failure)
      return failure;
    if (node != nullptr && node->wanted) {
      found.raw = raw;
      node->value = found;
    }
    return simdjson::SUCCESS;
  }

  error_code read_string(ondemand::value& value, std::string_view raw, std::string_view& text) {
    if (raw.size() < 2 || raw.back() != '"')
      return simdjson::UNCLOSED_STRING;
    text = raw.substr(1, raw.size() - 2);
    if (std::memchr(text.data(), '\\', text.size()) != nullptr)
      return value.get_string().get(text);
    ondemand::raw_json_string consumed;
    return value.get_raw_json_string().get(consumed);
  }

  error_code read_container(ondemand::value& value, ondemand::json_type type, path_node* node, unsigned depth,
                            std::string_view& raw, kind& what) {
    if (depth >= depth_max)
      return simdjson::DEPTH_ERROR;
    error_code failure = simdjson::SUCCESS;
    if (type == ondemand::json_type::object) {
      what = kind::object;
      ondemand::object object;
      failure = value.get_object().get(object);
      if (!failure)
        failure = read_members(object, node, depth + 1);
    } else {
      what = kind::array;
      ondemand::array array;
      failure = value.get_array().get(array);
      if (!failure)
        failure = read_elements(array, node, depth + 1);
    }
    if (failure)
      return failure;
    const char* behind = nullptr;
    if (location_->current_location().get(behind) != simdjson::SUCCESS)
      return simdjson::INCOMPLETE_ARRAY_OR_OBJECT;
    raw = trimmed({raw.data(), static_cast<std::size_t>(behind - raw.data())});
    return simdjson::SUCCESS;
  }

  path_node root_;
  std::vector<path_node*> paths_;
  bool collects_rest_ = false;

  ondemand::parser parser_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
  ondemand::document* location_ = nullptr; // of the payload that is read
  std::uint64_t generation_ = 0;
  name_set names_;
  std::string rest_;
};

json_document::json_document() : implementation_(std::make_unique<implementation>()) {}
json_document::~json_document() = default;

std::size_t json_document::add_path(std::span<const config::source::step> path) {
  return implementation_->add_path(path);
}
void json_document::collect_rest() { implementation_->collect_rest(); }
result<void> json_document::parse(std::string_view payload) { return implementation_->parse(payload); }
const json_value& json_document::value(std::size_t path) const { return implementation_->value(path); }
std::string_view json_document::rest() const { return implementation_->rest(); }

} // namespace penstock::decode
