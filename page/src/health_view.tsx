// How the service is, looked at again every few seconds.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "./asking";
import { ProblemNote } from "./problem_note";
import { service } from "./service";
import type { Durations, Status } from "./shapes";
import { age, bytes, count, milliseconds, percent } from "./words";

const EVERY_S = 5;

export function HealthView() {
  const [isFollowing, setFollowing] = useState(true);
  const { answer, problem, again } = useAnswer("status", service.status);
  useEffect(() => {
    if (!isFollowing) return;
    const timer = setInterval(again, EVERY_S * 1000);
    return () => clearInterval(timer);
  }, [isFollowing]);
  return (
    <>
      <div class="title">
        <h1>Health</h1>
        <label class="small">
          <input
            type="checkbox"
            checked={isFollowing}
            onChange={(event) => setFollowing(event.currentTarget.checked)}
          />{" "}
          look again every {EVERY_S} s
        </label>
      </div>
      {problem && <ProblemNote problem={problem} onRetry={again} />}
      {answer && <Panel status={answer} />}
    </>
  );
}

function Panel({ status }: { status: Status }) {
  const { freshness, redis, cache, events, journal, models } = status;
  const looked = cache.n_hits + cache.n_misses;
  return (
    <>
      <Readiness status={status} />
      <div class="cards">
        <Latency latency={status.latency} />
        <Card title="Events">
          <Fact name="Pending" value={count(events.n_pending)} bad={events.is_stuck} />
          <Fact name="Accepted" value={count(events.n_accepted)} />
          <Fact name="Duplicate" value={count(events.n_duplicate)} />
          <Fact name="Rejected" value={count(events.n_rejected)} />
          <Fact
            name="Features"
            value={events.is_behind ? "behind the journal" : "follow"}
            bad={events.is_behind}
          />
        </Card>
        <Card title="Journal">
          <Fact
            name="State"
            value={journal.is_failing ? "cannot be written" : "is written"}
            bad={journal.is_failing}
          />
          <Fact name="Live" value={bytes(journal.live)} />
          <Fact name="Archive" value={bytes(journal.archive)} />
          <Fact name="Free disk" value={bytes(journal.disk_free)} />
        </Card>
        <Card title="Redis">
          <Fact
            name="State"
            value={redis.is_refusing ? "left alone, reads failed" : "answers"}
            bad={redis.is_refusing}
          />
          <Fact
            name="Read, p50 / p99"
            value={`${milliseconds(redis.reads.p50_ms)} / ${milliseconds(redis.reads.p99_ms)} ms`}
          />
          <Fact
            name="Write, p50 / p99"
            value={`${milliseconds(redis.writes.p50_ms)} / ${milliseconds(redis.writes.p99_ms)} ms`}
          />
          <Fact name="Failed" value={count(redis.n_failed)} bad={redis.n_failed > 0} />
          <Fact
            name="Item cache"
            value={
              looked ? `${percent(cache.n_hits / looked)} hits, ${bytes(cache.size)}` : "not used"
            }
          />
        </Card>
        <Card title="Freshness">
          <Fact name="Prepared" value={age(freshness.prepared_age_s)} />
          {viewsByAge(freshness.materialized_age_s).map(([aged, views]) => (
            <Fact key={aged} name={views.join(", ")} value={aged} />
          ))}
        </Card>
        <Card title="Models">
          {models.map((model) => (
            <Fact
              key={model.name}
              name={model.name}
              value={model.is_shadow ? "shadow" : `${percent(model.share)} of users`}
            />
          ))}
          <Fact name="Encoder" value={status.encoder || "none"} />
          <Fact name="Data" value={status.data} />
          <Fact name="feast-fusion" value={status.version} />
        </Card>
        <Card title="Degraded answers">
          {Object.entries(status.degraded).map(([reason, n]) => (
            <Fact key={reason} name={reason} value={count(n)} bad={n > 0} />
          ))}
        </Card>
      </div>
    </>
  );
}

/** Views that were materialized together are said together. */
function viewsByAge(ages: Record<string, number>): [string, string[]][] {
  const found = new Map<string, string[]>();
  for (const [view, age_s] of Object.entries(ages)) {
    found.set(age(age_s), [...(found.get(age(age_s)) ?? []), view]);
  }
  return [...found];
}

function Readiness({ status }: { status: Status }) {
  return status.is_ready ? (
    <p class="note good">
      <strong>Ready.</strong> Answers are whole, and events are accepted.
    </p>
  ) : (
    <p class="note bad">
      <strong>Not ready.</strong> {status.missing}
    </p>
  );
}

function Latency({ latency }: { latency: Record<string, Durations> }) {
  const asked = Object.entries(latency).filter(([, durations]) => durations.n > 0);
  return (
    <section class="card" aria-labelledby="latency">
      <h2 id="latency">Latency</h2>
      {asked.length === 0 && <p class="quiet">Nothing was asked yet.</p>}
      {asked.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">ms</th>
              {["n", "p50", "p95", "p99"].map((name) => (
                <th key={name} scope="col" class="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {asked.map(([route, { n, p50_ms, p95_ms, p99_ms }]) => (
              <tr key={route}>
                <th scope="row">{route}</th>
                <td class="number">{count(n)}</td>
                {[p50_ms, p95_ms, p99_ms].map((ms, at) => (
                  <td key={at} class="number">
                    {milliseconds(ms)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <p class="quiet small">Since the service started.</p>
    </section>
  );
}

function Card({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="card">
      <h2>{title}</h2>
      <dl class="values">{children}</dl>
    </section>
  );
}

function Fact({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return (
    <div>
      <dt>{name.replaceAll("_", " ")}</dt>
      <dd class={bad ? "number bad" : "number"}>{value}</dd>
    </div>
  );
}
