// What each signal adds to an item's log odds of being chosen, and facts: for those who tune.

import type { Reason } from "./shapes";

const MOVED = /^(raised|lowered): /; // the sign of the number says it

export function TechnicalReasons({ reasons, title }: { reasons: Reason[]; title: string }) {
  const signals = reasons.filter((reason) => reason.kind === "signal");
  const facts = reasons.filter((reason) => reason.kind === "fact");
  if (!signals.length && !facts.length) return null;
  const most = Math.max(...signals.map((signal) => Math.abs(signal.value ?? 0)), 0);
  return (
    <details class="technical small">
      <summary>
        Signals<span class="unseen"> of {title}</span>
      </summary>
      {facts.map((fact) => (
        <p key={fact.text}>{fact.text}</p>
      ))}
      <dl title="What each adds to the log odds of being chosen next, were the others as they are">
        {signals.map(({ text, value }) => (
          <div key={text}>
            <dt>{text.replace(MOVED, "")}</dt>
            <dd class="number">
              {signed(value ?? 0)}
              <span class={(value ?? 0) < 0 ? "bar less" : "bar"} aria-hidden="true">
                <span style={{ width: `${most ? (100 * Math.abs(value ?? 0)) / most : 0}%` }} />
              </span>
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
