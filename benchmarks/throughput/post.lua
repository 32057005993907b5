-- Posts the bodies in the file that is given, one a line, in turn; tells what came of it as one line of JSON. With a second
-- argument, each connection pauses before each request: for twice as many milliseconds at most, and so many on average.
local requests, turn = {}, 0

function init(arguments)
  if arguments[2] then
    local pause = tonumber(arguments[2])
    math.randomseed(42)
    function delay()
      return math.floor(2 * pause * math.random() + 0.5)
    end
  end
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, nil, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '{"answers":%d,"seconds":%.6f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
