"""Who is treated differently?"""
