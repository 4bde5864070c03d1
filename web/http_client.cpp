#include "web/http_client.hpp"

#include "web/http_text.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <optional>

namespace penstock::web {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = boost::asio::ip::tcp;
using beast::error_code;

namespace {

constexpr std::uint64_t body_bytes_max = std::uint64_t{16} * 1024 * 1024;

struct target {
  host_and_port peer;
  std::string path;
};

result<target> parse_url(const std::string& url) {
  constexpr std::string_view scheme = "http://";
  const std::string_view text = url;
  if (lower_case(text.substr(0, 8)) == "https://")
    return error{errc::unsupported, url + ": only http:// is supported"};
  if (lower_case(text.substr(0, scheme.size())) != scheme)
    return error{errc::configuration, url + ": not a URL; it begins with http://"};
  const auto rest = text.substr(scheme.size());
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  const auto peer = parse_authority(rest.substr(0, end), 80);
  if (!peer)
    return error{errc::configuration, url + ": not a URL; it is http://host:port/path"};
  std::string path{rest.substr(end)};
  if (path.find_first_of(" \r\n\t") != std::string::npos)
    return error{errc::configuration, url + ": not a URL; blanks are written as %20"};
  if (!path.starts_with('/'))
    path.insert(0, "/");
  return target{*peer, std::move(path)};
}

error failed(const target& to, const error_code& why) {
  errc code = errc::connection_lost;
  if (why == beast::error::timeout)
    code = errc::timed_out;
  else if (why == asio::error::connection_refused || why == asio::error::host_not_found ||
           why == asio::error::host_not_found_try_again || why == asio::error::network_unreachable ||
           why == asio::error::host_unreachable)
    code = errc::connection_refused;
  else if (why == http::error::end_of_stream || why == http::error::partial_message)
    code = errc::connection_lost;
  else if (why.category() == make_error_code(http::error::bad_method).category())
    code = errc::protocol_violation;
  return {code, authority(to.peer.host, to.peer.port) + ": " + why.message()};
}

/// One operation at a time, waited for: Beast's timeouts only hold for the asynchronous ones.
class exchange {
public:
  explicit exchange(std::chrono::milliseconds timeout) { stream_.expires_after(timeout); }

  error_code connect(const host_and_port& peer) {
    error_code failure;
    const auto found = tcp::resolver{io_}.resolve(peer.host, std::to_string(peer.port), failure);
    if (!failure)
      wait(failure, [&](auto done) {
        stream_.async_connect(found, [done](error_code code, const tcp::endpoint&) { done(code); });
      });
    return failure;
  }

  error_code write(const http::request<http::string_body>& request) {
    error_code failure;
    wait(failure,
         [&](auto done) { http::async_write(stream_, request, [done](error_code code, std::size_t) { done(code); }); });
    return failure;
  }

  error_code read(http::response_parser<http::string_body>& parser) {
    error_code failure;
    wait(failure, [&](auto done) {
      http::async_read(stream_, buffer_, parser, [done](error_code code, std::size_t) { done(code); });
    });
    return failure;
  }

private:
  template <class Start>
  void wait(error_code& failure, Start start) {
    start([&failure](error_code code) { failure = code; });
    io_.restart();
    io_.run();
  }

  asio::io_context io_{1};
  beast::tcp_stream stream_{io_};
  beast::flat_buffer buffer_;
};

result<http_response> perform(http::verb method, const std::string& url, const std::string& body,
                              std::chrono::milliseconds timeout) {
  const auto to = parse_url(url);
  if (!to)
    return to.error();
  http::request<http::string_body> request{method, to->path, 11};
  request.set(http::field::host, authority(to->peer.host, to->peer.port));
  request.set(http::field::user_agent, "penstock");
  request.keep_alive(false);
  request.body() = body;
  request.prepare_payload();
  http::response_parser<http::string_body> parser;
  parser.body_limit(body_bytes_max);
  exchange with_peer{timeout};
  if (const auto failure = with_peer.connect(to->peer))
    return failed(*to, failure);
  if (const auto failure = with_peer.write(request))
    return failed(*to, failure);
  if (const auto failure = with_peer.read(parser))
    return failed(*to, failure);
  auto received = parser.release();
  http_response response;
  response.status = received.result_int();
  response.body = std::move(received.body());
  for (const auto& field : received)
    response.headers[lower_case({field.name_string().data(), field.name_string().size()})] = std::string{field.value()};
  response.content_type = response.headers["content-type"];
  return response;
}

} // namespace

result<http_response> http_get(const std::string& url, std::chrono::milliseconds timeout) {
  return perform(http::verb::get, url, {}, timeout);
}

result<http_response> http_post(const std::string& url, const std::string& body, std::chrono::milliseconds timeout) {
  return perform(http::verb::post, url, body, timeout);
}

} // namespace penstock::web
