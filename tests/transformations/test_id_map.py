import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transformations.id_map import IdMap

IDS = st.lists(st.text(max_size=3), max_size=12)


@given(IDS, IDS)
def test_codes_are_places_and_unknown_ids_have_none(known: list[str], asked: list[str]) -> None:
    ids = IdMap.of(known)
    order = sorted(set(known), key=str.encode)
    assert ids.ids.to_pylist() == order
    expected = [order.index(one) if one in order else -1 for one in asked]
    assert ids.codes(asked).tolist() == expected
    assert ids.codes(pa.chunked_array([pa.array(asked, pa.string())])).tolist() == expected
    assert [ids.code(one) for one in asked] == [None if at < 0 else at for at in expected]
    assert [one in ids for one in asked] == [at >= 0 for at in expected]
    assert ids.take(ids.codes(order)).to_pylist() == order


def test_the_order_given_is_kept_and_null_is_unknown() -> None:
    ids = IdMap(pa.array(["b", "a"]))
    assert ids.codes(pa.array(["a", None, "b", "c"])).tolist() == [1, -1, 0, -1]
    assert len(ids) == 2
