// Finds a user by the beginning of the id, takes any id that is typed, or makes one up.

import { useId, useState } from "preact/hooks";
import { useAnswer } from "./asking";
import { newId, service } from "./service";
import { count } from "./words";

interface Props {
  userId: string;
  onPick: (userId: string) => void;
}

interface Choice {
  userId: string;
  note: string;
}

export function UserPicker({ userId, onPick }: Props) {
  const [typed, setTyped] = useState<string | null>(null); // null: nobody is being looked for
  const [active, setActive] = useState(-1);
  const list = useId();
  const found = useAnswer(typed ?? "", (signal) => service.users(typed ?? "", signal));
  const choices = choicesOf(typed ?? "", found.answer?.users ?? []);
  const isOpen = typed !== null && choices.length > 0;

  const pick = (chosen: string) => {
    setTyped(null);
    setActive(-1);
    if (chosen) onPick(chosen);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (typed === null) setTyped("");
      else setActive((active + step + choices.length) % choices.length);
    } else if (event.key === "Escape") {
      setTyped(null);
    } else if (event.key === "Enter") {
      event.preventDefault();
      pick((isOpen && choices[active]?.userId) || (typed ?? "").trim());
    }
  };

  return (
    <div class="picker">
      <label for={`${list}-input`}>User</label>
      <div class="row">
        <input
          id={`${list}-input`}
          role="combobox"
          autocomplete="off"
          spellcheck={false}
          maxLength={512}
          placeholder="Id, or its beginning"
          aria-expanded={isOpen}
          aria-controls={list}
          aria-autocomplete="list"
          aria-activedescendant={isOpen && active >= 0 ? `${list}-${active}` : undefined}
          value={typed ?? userId}
          title={userId}
          onFocus={(event) => event.currentTarget.select()}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setActive(-1);
          }}
          onKeyDown={onKeyDown}
          onBlur={() => setTyped(null)}
        />
        <button type="button" title="An id that nobody has" onClick={() => pick(inventUser())}>
          Make one up
        </button>
      </div>
      <ul class="choices" id={list} role="listbox" aria-label="Users" hidden={!isOpen}>
        {choices.map(({ userId, note }, at) => (
          <li
            key={userId}
            id={`${list}-${at}`}
            role="option"
            aria-selected={at === active}
            onPointerDown={(event) => {
              event.preventDefault(); // the field would lose the focus, and close this, before
              pick(userId);
            }}
          >
            <span>{userId}</span> <span class="quiet small number">{note}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

export function inventUser(): string {
  return `visitor-${newId().slice(0, 6)}`;
}

function choicesOf(typed: string, users: { user_id: string; n_items: number }[]): Choice[] {
  const known = users
    .filter((each) => each.user_id.startsWith(typed))
    .map((each) => ({ userId: each.user_id, note: `${count(each.n_items)} items` }));
  const given = typed.trim();
  const isNew = given !== "" && !known.some((each) => each.userId === given);
  return isNew ? [...known, { userId: given, note: "as typed" }] : known;
}
