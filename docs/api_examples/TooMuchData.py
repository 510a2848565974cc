from adwarm import TooMuchData

error = TooMuchData("the answer would be too large", smaller_page=True)
assert error.smaller_page
