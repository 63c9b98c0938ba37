-- flags: allow-oom
-- uses: records clock schema many wake erase moves settle
--
-- Gives back all jobs of a worker that is known to be dead, and forgets the worker.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  worker
-- ARGV[3]  reason, for the history of jobs that are charged
-- ARGV[4]  msgpack array, per handler that was running: id, lease_no
-- Returns per job an array: id, name, worker, state, charged (0 or 1). An unknown worker: nothing.
--
-- Guarantee: one atomic step; each job is settled once, however often this is repeated or a rescue runs beside it.

local problem = schema_problem()
if problem then
  return problem
end

local now = clock(ARGV[1])
local worker, reason = ARGV[2], ARGV[3]
local begun = {}
for _, handler in ipairs(cmsgpack.unpack(ARGV[4])) do
  begun[handler[1] .. ' ' .. handler[2]] = true
end

local settled = {}
local held = redis.call('HGETALL', ns .. 'running:' .. worker)
for position = 1, #held, 2 do
  local id = held[position]
  local lease_no, started = decode_hold(held[position + 1])
  local head = cmsgpack.unpack(redis.call('HGET', ns .. 'heads', id))
  local run = cmsgpack.unpack(redis.call('HGET', ns .. 'runs', id))
  local charged = started == '1' or begun[id .. ' ' .. lease_no]
  local state, cost = settle(id, head, run, charged, reason, now)
  settled[#settled + 1] = {id, head[NAME], worker, state, cost}
end
forget_worker(worker)
settle_up()
return settled
