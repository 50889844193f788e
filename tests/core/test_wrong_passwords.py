"""Wrong passwords are bounded for each address and for all, within a minute."""

from secondlook.core.wrong_passwords import MOST_ADDRESSES, WINDOW_S, WrongPasswords


def test_guessing_is_slowed_for_each_address_and_in_all():
    tries = WrongPasswords(5, 50)
    for _ in range(5):
        assert tries.wait_s("a", 100.0) == 0
        tries.begin("a", 100.0)
    assert tries.wait_s("a", 100.0) == WINDOW_S
    assert tries.wait_s("b", 100.0) == 0
    assert tries.wait_s("a", 160.1) == 0
    for number in range(50):
        tries.begin(f"client {number}", 200.0)
    assert tries.wait_s("fresh", 200.0) == WINDOW_S
    assert tries.wait_s("fresh", 260.1) == 0


def test_the_oldest_of_a_minute_says_how_long():
    tries = WrongPasswords(2)
    tries.begin("a", 100.0)
    tries.begin("a", 130.0)
    assert tries.wait_s("a", 140.0) == 20.0
    assert tries.wait_s("a", 160.0) == 0
    tries.begin("a", 160.0)
    assert tries.wait_s("a", 161.0) == 29.0


def test_without_a_bound_of_all_others_never_wait():
    tries = WrongPasswords(1)
    for number in range(1000):
        tries.begin(f"client {number}", 100.0)
    assert tries.wait_s("fresh", 100.0) == 0


def test_a_right_one_is_taken_back():
    tries = WrongPasswords(1, 1)
    tries.begin("a", 100.0)
    tries.was_right("a")
    assert tries.wait_s("a", 100.0) == tries.wait_s("b", 100.0) == 0
    tries.was_right("nobody")


def test_the_addresses_of_one_network_count_as_one():
    tries = WrongPasswords(1)
    tries.begin("2001:db8::1", 100.0)
    assert tries.wait_s("2001:db8::2", 100.0) == WINDOW_S
    assert tries.wait_s("2001:db8:0:1::2", 100.0) == 0


def test_what_is_remembered_is_bounded():
    tries = WrongPasswords(1)
    for number in range(MOST_ADDRESSES + 1):
        tries.begin(str(number), 0.0)
    assert tries.wait_s("0", 0.0) == 0
    assert tries.wait_s("1", 0.0) == WINDOW_S
