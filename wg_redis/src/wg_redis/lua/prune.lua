-- flags: allow-oom
-- uses: records clock schema many wake erase moves find
--
-- Deletes dead jobs that are too old or too many, and ends waiting jobs that expired.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  the most jobs to remove, at most 1,000
-- ARGV[3]  how long dead jobs are kept, milliseconds; '' for ever
-- ARGV[4]  how many dead jobs are kept; '' for all
-- Returns how many were removed.
--
-- Guarantee: one atomic step; running jobs are never touched.

local problem = schema_problem()
if problem then
  return problem
end

local now, limit = clock(ARGV[1]), tonumber(ARGV[2])
local dead = ns .. 'dead'

-- The oldest dead jobs: those before the cut-off, and as many more as there are too many.
local function surplus()
  local excess = 0
  if ARGV[3] ~= '' then
    excess = redis.call('ZCOUNT', dead, '-inf', now - tonumber(ARGV[3]))
  end
  if ARGV[4] ~= '' then
    excess = math.max(excess, redis.call('ZCARD', dead) - tonumber(ARGV[4]))
  end
  return math.min(excess, limit)
end

local excess = surplus()
local removed = excess > 0 and redis.call('ZRANGE', dead, 0, excess - 1) or {}
many('ZREM', dead, removed)
erase(removed)

local over = redis.call('ZRANGE', ns .. 'expiring', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit - #removed)
for _, id in ipairs(over) do
  local head = cmsgpack.unpack(redis.call('HGET', ns .. 'heads', id))
  local state = locate(id, head, decode_run(redis.call('HGET', ns .. 'runs', id)))
  redis.call('ZREM', state == 'ready' and ready_key(head[QUEUE]) or ns .. INDEX_OF[state], id)
  count('expired', head[QUEUE])
end
many('ZREM', ns .. 'expiring', over)
erase(over)
settle_up()
return #removed + #over
