from db import connect

with connect() as connection, connection.cursor() as cursor:
    cursor.execute("INSERT INTO pledges (name) VALUES ('Ada'), ('Brita')")
print("populated")
