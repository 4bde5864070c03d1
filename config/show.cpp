#include "config/show.hpp"

#include "config/findings.hpp"
#include "config/load.hpp"
#include "config/settings.hpp"
#include "config/value.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace penstock::config {

namespace {

using json = nlohmann::ordered_json;

json show_section(const section& settings);

json text_of(const std::string& text) { return escape_variables(without_password(text)); }

/// Null where there is nothing to show.
struct shown {
  json operator()(const std::string* value) const { return value->empty() ? json{} : text_of(*value); }
  json operator()(const bool* value) const { return *value; }
  json operator()(const number& value) const {
    return value.what == number::unit::count ? json(value.get()) : json(to_text(value, value.get()));
  }
  json operator()(const secret* value) const { return value->value.empty() ? json{} : json("***"); }
  json operator()(const std::filesystem::path* value) const {
    return value->empty() ? json{} : text_of(value->string());
  }
  json operator()(const std::vector<std::string>* value) const {
    json list = json::array();
    for (const std::string& text : *value)
      list.push_back(text_of(text));
    return list;
  }
  json operator()(const one_or_more& value) const { return (*this)(value.value); }
  json operator()(const index_lists* value) const {
    json lists = json::array();
    for (const auto& index : *value) {
      json list = json::array();
      for (const index_column& column : index)
        list.push_back(column.name + (column.descending ? " desc" : ""));
      lists.push_back(std::move(list));
    }
    return lists.empty() ? json{} : lists;
  }
  json operator()(const word& value) const {
    const auto text = value.get();
    return text ? text_of(*text) : json{};
  }
  json operator()(const word_list& value) const { return value.all(); }
  json operator()(const named_texts& value) const {
    json all = json::object();
    for (const auto& [name, text] : value.all())
      all[name] = text_of(text);
    return all.empty() ? json{} : all;
  }
  json operator()(const section& value) const { return show_section(value); }
  json operator()(const optional_section& value) const { return value.has() ? show_section(value.get()) : json{}; }
  json operator()(const named_sections& value) const {
    json all = json::object();
    for (const auto& [name, settings] : value.all())
      all[name] = show_section(settings);
    return all;
  }
  json operator()(const listed_sections& value) const {
    json list = json::array();
    for (const section& settings : value.all())
      list.push_back(show_section(settings));
    return list.empty() ? json{} : list;
  }
};

json show_section(const section& settings) {
  json members = json::object();
  for (const setting& s : settings)
    if (json value = std::visit(shown{}, s.value); !value.is_null() && value != json::object())
      members[s.name] = std::move(value);
  return members;
}

/// Plain where every YAML reader takes it for text.
std::string yaml_scalar(const json& value) {
  std::string quoted_text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (!value.is_string())
    return quoted_text;
  const auto& text = value.get_ref<const std::string&>();
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view{"_./:-"}.find(c) != std::string_view::npos;
  };
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), is_plain) && text.front() != '-' &&
                     text.front() != ':' && text.back() != ':' && text != "yes" && text != "no" &&
                     !json::accept(text) && text.find_first_not_of("0123456789_") != std::string::npos;
  return plain ? text : quoted_text;
}

/// In one line.
std::string yaml_value(const json& value) {
  if (!value.is_structured())
    return yaml_scalar(value);
  std::string text;
  for (const auto& [name, member] : value.items())
    text += (text.empty() ? "" : ", ") + (value.is_object() ? yaml_scalar(json(name)) + ": " : "") + yaml_value(member);
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

void write_yaml(const json& members, const std::string& indent, std::string& out) {
  for (const auto& [name, value] : members.items()) {
    out += indent + yaml_scalar(json(name)) + ":";
    if (value.is_object() && !value.empty()) {
      out += '\n';
      write_yaml(value, indent + "  ", out);
    } else {
      out += " " + yaml_value(value) + "\n";
    }
  }
}

} // namespace

std::string show_value(const setting& setting) {
  const json value = std::visit(shown{}, setting.value);
  if (value.is_null())
    return {};
  return yaml_value(value);
}

std::string text_to_yaml(const std::string& text) { return yaml_scalar(json(escape_variables(text))); }

std::string show(const configuration& configuration, bool as_json) {
  config::configuration whole = configuration;
  for (auto& [name, broker] : whole.brokers)
    if (!broker.password_file.empty())
      broker.password.value.clear(); // the file stands for it, and both are an error
  const json members = show_section(describe(whole));
  if (as_json)
    return members.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  std::string text;
  write_yaml(members, "", text);
  return text;
}

} // namespace penstock::config
